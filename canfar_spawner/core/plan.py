"""From a request to a plan: every decision about a session, in one pure function."""

from __future__ import annotations

from datetime import datetime

from canfar_spawner.core.catalogue import Container
from canfar_spawner.core.errors import Invalid, listing
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.core.images import ImageRef
from canfar_spawner.core.kinds import KINDS, Entry, KindSpec, SessionKind
from canfar_spawner.core.lifetime import first_end
from canfar_spawner.core.limits import Usage, admit
from canfar_spawner.core.names import LaunchId, SessionId, object_name
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import SessionRequest
from canfar_spawner.core.resources import ResourcePlan, plan_resources
from canfar_spawner.core.storage import StoragePlan, check_open, plan_storage


class SessionPlan(Frozen):
    """A session as it will be; no secret is in it."""

    session: SessionId
    launch: LaunchId
    identity: PosixIdentity
    name: str
    """What the owner calls it."""
    kind: SessionKind
    container: str | None
    """The catalogue entry, None for an image by reference."""
    title: str
    """The container's title, or the image."""
    version: str
    image: ImageRef
    entry: Entry
    port: int | None
    keeps_prefix: bool
    resources: ResourcePlan
    storage: StoragePlan
    open: str | None
    continues: tuple[SessionId, ...] = ()
    """The sessions in whose place this one is, the last first: their links lead to it."""
    env_names: tuple[str, ...]
    """The variables the owner set; their values travel apart."""
    command: tuple[str, ...]
    """Empty: the image's own entry point."""
    started: datetime
    ends: datetime
    policy_digest: str

    @property
    def owner(self) -> str:
        """The user the session belongs to."""
        return self.identity.name

    @property
    def object_name(self) -> str:
        """The name of the pod or process made for it."""
        return object_name(self.owner, self.session)


def _container(
    request: SessionRequest, identity: PosixIdentity, policy: SitePolicy
) -> tuple[Container, str | None] | None:
    groups = identity.group_names
    if request.container is not None:
        return policy.catalogue.find(request.container, groups), request.version
    if request.image is None:
        raise Invalid("Choose a container.", field="container")
    return policy.catalogue.alias(request.image, groups, request.kind)


def _kind(request: SessionRequest, kinds: tuple[SessionKind, ...], title: str) -> SessionKind:
    if request.kind is None:
        return kinds[0]
    if request.kind not in kinds:
        raise Invalid(
            f"{title} cannot run as {request.kind}; it runs as {listing(kinds)}.",
            field="kind",
            allowed=kinds,
        )
    return request.kind


def _command(request: SessionRequest, spec: KindSpec) -> tuple[str, ...]:
    for field, given in (("cmd", request.cmd is not None), ("args", bool(request.args))):
        if given and not spec.has_command:
            raise Invalid(
                f"Only batch jobs take {field}; a {spec.title} session runs its own program.",
                field=field,
            )
    if request.cmd is None:
        if request.args:
            raise Invalid("args needs cmd, the program they are for.", field="args")
        return ()
    return (request.cmd, *request.args)


def plan_session(
    request: SessionRequest,
    *,
    identity: PosixIdentity,
    policy: SitePolicy,
    usage: Usage,
    now: datetime,
    session: SessionId,
    launch: LaunchId,
) -> SessionPlan:
    """Decide what a session will be, or refuse it.

    Equal arguments give equal plans; nothing else is looked at.

    Parameters
    ----------
    request : SessionRequest
    identity : PosixIdentity
        The owner, from the identity source, never from the request.
    policy : SitePolicy
    usage : Usage
        What the owner has running, without this session.
    now : datetime
        In UTC.
    session : SessionId
    launch : LaunchId

    Raises
    ------
    Invalid
        A value is not one of those on offer.
    NotAllowed
        The site or the owner's groups do not permit it.
    LimitReached
        The owner has as much as the site grants.
    """
    found = _container(request, identity, policy)
    if found is not None:
        container, wanted = found
        version = container.version(wanted, field="image" if request.image else "version")
        kind = _kind(request, container.kinds, container.title)
        spec = KINDS[kind]
        image = policy.catalogue.image(container, version)
        title, version_name = container.title, version.name
        entry = container.entry_of(kind)
        port = container.port or spec.port
        keeps_prefix = (
            spec.keeps_prefix if container.keeps_prefix is None else (container.keeps_prefix)
        )
    else:
        if request.image is None:  # pragma: no cover - `_container` has refused it
            raise Invalid("Choose a container.", field="container")
        image = request.image
        policy.images.check(image)
        kind = _kind(request, tuple(SessionKind), str(image))
        if request.kind is None:
            raise Invalid(
                f"Say what the image is to run as: {listing(SessionKind)}.",
                field="kind",
                allowed=SessionKind,
            )
        spec = KINDS[kind]
        container, title = None, f"{image.repository}"
        version_name = image.tag or (image.digest or "latest")
        entry, port, keeps_prefix = Entry.GATEWAY, spec.port, spec.keeps_prefix
    command = _command(request, spec)
    resources = plan_resources(
        mode=request.mode,
        cores=request.cores,
        memory=request.memory,
        gpus=request.gpus,
        choices=policy.resources.of(kind),
        modes=spec.modes,
        kind_title=spec.title,
    )
    storage = plan_storage(
        projects=request.projects,
        identity=identity,
        policy=policy.storage,
        known_projects=policy.project_names,
    )
    opened = None if request.open is None else check_open(request.open, storage)
    admit(kind, usage=usage, limits=policy.limits, groups=identity.group_names)
    return SessionPlan(
        session=session,
        launch=launch,
        identity=identity,
        name=request.name or (container.name if container else image.repository.split("/")[-1]),
        kind=kind,
        container=container.name if container else None,
        title=title,
        version=version_name,
        image=image,
        entry=entry,
        port=port,
        keeps_prefix=keeps_prefix,
        resources=resources,
        storage=storage,
        open=opened,
        continues=request.continues,
        env_names=tuple(name for name, _ in request.env),
        command=command,
        started=now,
        ends=first_end(kind, now, policy.lifetimes),
        policy_digest=policy.digest,
    )
