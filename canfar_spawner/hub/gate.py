"""The gate: every launch is judged here, before JupyterHub has made or stored anything.

JupyterHub asks for the limit of named servers before it makes a row for one, and takes a
callable; that call is the only place where a request can be refused without a trace. It is
also called for pages that merely show the limit.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

from jupyterhub import orm
from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.handlers.pages import HomeHandler, SpawnHandler
from jupyterhub.utils import url_path_join
from tornado import web

from canfar_spawner.core.errors import Busy, Conflict, Invalid, SessionError, shown
from canfar_spawner.core.names import SessionId, session_id
from canfar_spawner.core.request import (
    SessionRequest,
    options_from_fields,
    options_of,
    parse_request,
    without_secrets,
)
from canfar_spawner.hub.adopt import adopt_later
from canfar_spawner.hub.platform import RESERVED_FOR, SETTING, Platform
from canfar_spawner.hub.rows import remove_row

NO_LIMIT = 0
"""What JupyterHub takes as *as many as you like*: the platform counts by itself."""

Form = Callable[..., object]

_FORM_USED: Final = "This form has launched a session already. Launch again for another one."


class _NoRoom(Busy):
    """JupyterHub would refuse the launch, and have made a row for it by then."""

    code = "busy"
    status = 429


class _Used(Conflict):
    """There is or was a session of this id."""


def _fields(handler: Any) -> dict[str, list[str]]:
    """Read a submitted form."""
    fields = {}
    for name, values in handler.request.body_arguments.items():
        if name != "_xsrf":
            try:
                fields[name] = [value.decode() for value in values]
            except UnicodeDecodeError:
                raise Invalid(f"{shown(name)} is not UTF-8 text.", field=shown(name)) from None
    return fields


def active_sessions(user: Any) -> frozenset[str]:
    """Give the ids of a hub user's sessions that run, start or stop."""
    return frozenset(name for name, spawner in user.spawners.items() if name and spawner.active)


def _body_options(handler: Any) -> dict[str, object]:
    try:
        body = json.loads(handler.request.body or b"{}")
    except (ValueError, RecursionError):
        raise Invalid("The body must be a JSON object.") from None
    if not isinstance(body, dict):
        raise Invalid("The body must be a JSON object.")
    if "display_name" in body:
        raise Invalid(
            "Give the session's name as name in user_options, not as display_name.",
            field="display_name",
        )
    options = body.get("user_options", body) or {}
    if not isinstance(options, dict):
        raise Invalid("user_options must be a JSON object.", field="user_options")
    return options


def _admit(handler: Any, platform: Platform, request: SessionRequest) -> bool:
    """Judge a launch; whatever it raises, nothing has been made or stored.

    Says no where the session runs or is on its way: JupyterHub starts nothing then.
    """
    user = _owner(handler)
    session = session_id(_session_name(handler))
    active = active_sessions(user)
    if session in active:
        return False
    if _is_used(handler, platform, user, session):
        raise _Used(
            f"The session id {session} has been used before. Take a new one.", field="session"
        )
    platform.plan(request, owner=user.name, session=session, active=active)
    _check_room(handler)
    platform.admit(user.name, session, request)
    platform.keep(_take_back(platform, user, session))
    return True


def _check_room(handler: Any) -> None:
    """Refuse what JupyterHub's own limits of starting and running servers will not let start."""
    counts = handler.users.count_active_users()
    starting = counts["spawn_pending"] + counts["proxy_pending"]
    seconds = round(random.uniform(*handler.settings["spawn_throttle_retry_range"]))  # noqa: S311
    if 0 < handler.concurrent_spawn_limit <= starting:
        raise _NoRoom(
            f"Many sessions are starting at this moment. Try again in {seconds} seconds.", seconds
        )
    if 0 < handler.active_server_limit <= counts["active"]:
        raise _NoRoom(
            "All sessions that the site has room for are in use. Try again later.", seconds
        )


async def _take_back(platform: Platform, user: Any, session: SessionId) -> None:
    """Remove the row of a launch that JupyterHub has refused after all, such as for a sign-in that is over."""
    await asyncio.sleep(RESERVED_FOR.total_seconds())
    spawner = user.spawners.get(session)
    if spawner is not None and not spawner.active and not spawner.phases:
        platform.release(user.name, session)
        await remove_row(spawner, after=0, log=platform.log)


def _is_used(handler: Any, platform: Platform, user: Any, session: SessionId) -> bool:
    """Say whether anybody's session has or had an id: what is kept of each is found by it alone."""
    if platform.admitted(user.name, session) or platform.ended.has_session(session):
        return True
    named = handler.db.query(orm.Spawner.id).filter(orm.Spawner.name == session)
    return named.first() is not None


def _admit_form(handler: Any, platform: Platform) -> None:
    """Judge a submitted form, which a browser may submit again, or show again after its session."""
    request = parse_request(options_from_fields(_fields(handler)))
    try:
        if _admit(handler, platform, request):
            return
    except _Used:
        # Nobody who fills in a form has chosen its id, and the form that is shown has another.
        raise _Used(_FORM_USED, field="session") from None
    user, session = _owner(handler), SessionId(_session_name(handler))
    if not _is_the_same(platform, user, session, request):
        raise _Used(_FORM_USED, field="session")
    handler.redirect(
        url_path_join(handler.hub.base_url, "spawn-pending", user.escaped_name, session)
    )
    raise web.Finish


def _is_the_same(
    platform: Platform, user: Any, session: SessionId, request: SessionRequest
) -> bool:
    """Say whether a session that runs or starts is what is asked for once more."""
    admitted = platform.admitted(user.name, session)
    if admitted is not None:
        return admitted.request == request
    stored = without_secrets(options_of(request))
    return bool(user.spawners[session].user_options == stored)


def _owner(handler: Any) -> Any:
    name = handler.path_args[0] if handler.path_args else handler.path_kwargs.get("user_name")
    current = handler.current_user
    return current if name is None or name == current.name else handler.find_user(name)


def _session_name(handler: Any) -> str:
    if len(handler.path_args) > 1:
        return str(handler.path_args[1] or "")
    return str(handler.path_kwargs.get("server_name") or "")


def _refuse(handler: Any, refusal: SessionError) -> NoReturn:
    handler.log.info("Refused: %s %s", refusal.code, refusal.detail or refusal.sentence)
    handler.set_status(refusal.status)
    handler.set_header("Content-Type", "application/json")
    _say_when(handler, refusal)
    handler.finish(json.dumps(refusal.as_json()))
    raise web.Finish


def _say_when(handler: Any, refusal: SessionError) -> None:
    if isinstance(refusal, Busy):
        handler.set_header("Retry-After", str(refusal.retry_after))


async def _refuse_in_form(
    handler: Any, platform: Platform, form: Form, refusal: SessionError
) -> NoReturn:
    user = _owner(handler)
    handler.log.info("Refused: %s %s", refusal.code, refusal.detail or refusal.sentence)
    handler.set_status(refusal.status)
    _say_when(handler, refusal)
    try:
        fields = _fields(handler)
    except SessionError:
        fields = {}
    page = await handler.render_template(
        "spawn.html",
        for_user=user,
        auth_state=None,
        spawner_options_form=form(
            platform,
            owner=user.name,
            active=active_sessions(user),
            fields=fields,
            refusal=refusal,
        ),
        error_message="",
        html_error_message="",
        url="",
        spawner=user.spawner,
    )
    handler.finish(page)
    raise web.Finish


def _to_form(handler: Any) -> NoReturn:
    """Send a GET of a session's launch address to the form: GET never launches anything."""
    query = f"?{handler.request.query}" if handler.request.query else ""
    handler.redirect(f"{handler.hub.base_url}spawn{query}")
    raise web.Finish


def make_gate(form: Form) -> Callable[[Any], int | Awaitable[int]]:
    """Make the callable for ``JupyterHub.named_server_limit_per_user``.

    Parameters
    ----------
    form : callable
        Builds the view of the launch form; a refused form is shown again, filled in.
    """

    def gate(handler: Any) -> int | Awaitable[int]:
        platform: Platform = handler.settings[SETTING]
        method = handler.request.method
        if isinstance(handler, SpawnHandler):
            if method != "POST":
                # JupyterHub asks on GET only where the address names a session.
                _to_form(handler)
            try:
                _admit_form(handler, platform)
            except SessionError as refusal:
                return _refuse_in_form(handler, platform, form, refusal)
        elif isinstance(handler, UserServerAPIHandler):
            try:
                if method != "POST":
                    raise Invalid("A session is made by starting it, with POST, and keeps its id.")
                _admit(handler, platform, parse_request(_body_options(handler)))
            except SessionError as refusal:
                _refuse(handler, refusal)
        elif isinstance(handler, HomeHandler):
            # Where sign-in lands, with everything at hand that a launch needs.
            adopt_later(handler, platform)
        return NO_LIMIT

    return gate
