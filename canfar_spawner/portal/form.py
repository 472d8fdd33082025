"""The launch form: what is on offer, what is filled in, what was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from canfar_spawner.core.backend import Backend, Offer
from canfar_spawner.core.catalogue import Container
from canfar_spawner.core.errors import SessionError, listing, shown
from canfar_spawner.core.kinds import KINDS, SessionKind
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import FIELDS, SECRET_FIELDS
from canfar_spawner.core.resources import number
from canfar_spawner.hub.gate import active_sessions
from canfar_spawner.hub.platform import Platform
from canfar_spawner.portal.address import spawn_page
from canfar_spawner.portal.language import say
from canfar_spawner.portal.views import (
    ContainerCard,
    LaunchForm,
    Preparing,
    SizeChoices,
    VersionChoice,
)
from canfar_spawner.portal.words import fixed_sentence, flexible_sentence, long_duration

_LINK_PREFIX = "opt-"
_ELSEWHERE = {"profile", "projects", "continues", "cmd", "args"}
_NEVER_SHOWN = SECRET_FIELDS - {"env"}
"""What a registry asks for is used once; a form that is shown again asks for it anew."""
_SHOWN = tuple(field for field in FIELDS if field not in _ELSEWHERE | _NEVER_SHOWN)


def _preparing(offer: Offer) -> Preparing | None:
    found = offer.preparation
    if found is None:
        return None
    return Preparing(
        state="failed" if found.error else "",
        text=found.text,
        step=found.step,
        steps=found.steps,
        percent=100 * max(0, found.step - 1) // found.steps if found.steps else 0,
        seconds_left=found.seconds_left,
        size_mb=found.size_mb,
        error=found.error,
    )


def container_card(container: Container, backend: Backend) -> ContainerCard:
    """Show a container; one that cannot run here is shown too, with the reason."""
    offer = backend.offer(container)
    container = offer.narrowed(container)
    kind = container.kinds[0]
    return ContainerCard(
        name=container.name,
        title=container.title,
        description=container.description,
        icon=container.icon,
        kind=kind.value,
        kind_title=say(KINDS[kind].title),
        versions=tuple(
            VersionChoice(
                name=version.name,
                recommended=version is container.default_version,
                deprecated=version.deprecated,
                successor=version.successor or "",
            )
            for version in container.versions
        ),
        default_version=container.default_version.name,
        recommended=container.recommended,
        available=offer.available,
        reason=offer.reason,
        command=offer.command,
        preparing=_preparing(offer),
        modes=tuple(mode.value for mode in KINDS[kind].modes),
        notice=offer.notice,
    )


def container_cards(platform: Platform, groups: frozenset[str]) -> tuple[ContainerCard, ...]:
    """Show every interactive container that a user of these groups may see."""
    return tuple(
        container_card(container, platform.backend)
        for container in platform.policy.catalogue.offered(groups)
        if KINDS[container.kinds[0]].interactive
    )


def _sizes(policy: SitePolicy, kind: SessionKind, *, enforced: bool) -> SizeChoices:
    choices = policy.resources.of(kind)
    return SizeChoices(
        cores=tuple(number(cores) for cores in choices.cores),
        memory=choices.memory,
        gpus=choices.gpus,
        flexible_sentence=flexible_sentence(choices.flexible),
        fixed_sentence=fixed_sentence(enforced=enforced),
        least=(number(choices.flexible.cores_request), str(choices.flexible.memory_request)),
    )


def _fall_back(
    fields: Mapping[str, Sequence[str]],
    platform: Platform,
    groups: frozenset[str],
    mine: tuple[str, ...],
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Drop what a saved link asks for and the site does not have any more, and say so."""
    kept = {field: list(values) for field, values in fields.items()}
    notices = []
    offered = platform.policy.catalogue.offered(groups)
    by_name = {container.name: container for container in offered}
    asked = (kept.pop("profile", None) or kept.get("container") or [""])[0]
    if asked:
        container = by_name.get(asked)
        if container is None:
            kept.pop("container", None)
            kept.pop("version", None)
            notices.append(
                say("The container %(name)s is not offered; choose another.", name=shown(asked))
            )
        else:
            kept["container"] = [asked]
            container = platform.backend.offer(container).narrowed(container)
            names = [version.name for version in container.versions]
            wanted = (kept.get("version") or [""])[0]
            if wanted and wanted not in names:
                kept.pop("version")
                notices.append(
                    say(
                        "%(container)s %(version)s is not offered here; %(other)s takes its place.",
                        container=container.title,
                        version=shown(wanted),
                        other=container.default_version.name,
                    )
                )
    gone = [project for project in kept.get("projects", []) if project and project not in mine]
    if gone:
        kept["projects"] = [project for project in kept["projects"] if project not in gone]
        absent = listing(map(shown, gone), conjunction=say("and"))
        notices.append(say("You are not in %(projects)s; left out.", projects=absent))
    empty = [
        line.removesuffix("=")
        for line in (kept.get("env") or [""])[0].splitlines()
        if line.endswith("=") and line.count("=") == 1
    ]
    if empty:
        absent = listing(map(shown, empty), conjunction=say("and"))
        notices.append(
            say("The values of variables are not kept: fill in %(names)s below.", names=absent)
        )
    unknown = [field for field in kept if field not in FIELDS or field in _NEVER_SHOWN]
    for field in unknown:
        kept.pop(field)
        notices.append(say("A link cannot set %(field)s; it was left out.", field=shown(field)))
    return kept, tuple(notices)


def launch_form(
    platform: Platform,
    *,
    owner: str,
    active: frozenset[str],
    fields: Mapping[str, Sequence[str]],
    refusal: SessionError | None = None,
    notices: tuple[str, ...] = (),
    taken: tuple[str, ...] = (),
) -> LaunchForm:
    """Show the form.

    Parameters
    ----------
    platform : Platform
    owner : str
    active : frozenset of str
        The owner's sessions that run or start.
    fields : mapping
        What is filled in, as a form submits it.
    refusal : SessionError, optional
        Why the form is shown again.
    notices : tuple of str
        What was left out of a link.
    taken : tuple of str
        What the owner's sessions are called now.
    """
    policy = platform.policy
    try:
        identity = platform.identities.identity(owner)
        groups, mine = identity.group_names, identity.projects
        limit = policy.limits.interactive_for(groups)
    except SessionError as error:
        refusal = refusal or error
        groups, mine, limit = frozenset[str](), (), policy.limits.interactive
    values = {field: fields[field][0] for field in _SHOWN if fields.get(field)}
    chosen = fields.get("projects")
    errors = {refusal.field: refusal.sentence} if refusal and refusal.field in FIELDS else {}
    interactive = [kind for kind in SessionKind if KINDS[kind].interactive]
    enforced = platform.backend.enforces_sizes
    return LaunchForm(
        action=spawn_page(owner, platform.fresh_session()),
        owner=owner,
        containers=container_cards(platform, groups),
        sizes={kind.value: _sizes(policy, kind, enforced=enforced) for kind in interactive},
        projects=mine,
        values=values,
        selected_projects=mine if chosen is None else tuple(name for name in chosen if name),
        errors=errors,
        error=refusal.sentence if refusal and not errors else "",
        notices=notices,
        running=len(active),
        limit=limit,
        lifetime=long_duration(policy.lifetimes.interactive),
        custom_images=bool(policy.images.sources) and platform.backend.runs_images,
        kinds=tuple((kind.value, say(KINDS[kind].title)) for kind in interactive),
        lifetime_seconds=int(policy.lifetimes.interactive.total_seconds()),
        taken=taken,
        continues=tuple(fields.get("continues", ())),
        held_to=enforced,
        filled=bool(values) or chosen is not None,
    )


def spawner_form(spawner: Any) -> LaunchForm:
    """Show the form for a GET; the query of a deep link fills it in.

    JupyterHub calls this for ``Spawner.options_form``.
    """
    platform: Platform = spawner.platform
    owner: str = spawner.user.name
    query: dict[str, list[str]] = {}
    if spawner.handler is not None:
        for name, values in spawner.handler.request.query_arguments.items():
            if name.startswith(_LINK_PREFIX):
                query[name.removeprefix(_LINK_PREFIX)] = [value.decode() for value in values]
    try:
        identity = platform.identities.identity(owner)
        fields, notices = _fall_back(query, platform, identity.group_names, identity.projects)
    except SessionError:
        fields, notices = {}, ()
    return launch_form(
        platform,
        owner=owner,
        active=active_sessions(spawner.user),
        fields=fields,
        notices=notices,
        taken=tuple(
            platform.news.name(other.plan)
            for other in spawner.user.spawners.values()
            if other.active and getattr(other, "plan", None) is not None
        ),
    )
