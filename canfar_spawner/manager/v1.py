"""What all answers of ``v1/`` share, and those about the platform as a whole."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Final

from tornado import web
from typing_extensions import override

from canfar_spawner.core.authority import Action
from canfar_spawner.core.errors import (
    Invalid,
    NotYours,
    SessionError,
    Unavailable,
    shown,
)
from canfar_spawner.core.names import SessionId
from canfar_spawner.manager import wire
from canfar_spawner.manager.app import Answer
from canfar_spawner.manager.callers import Caller, bearer
from canfar_spawner.manager.openapi import document
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.route import Access, Route

_READ_METRICS: Final = "read:metrics"
_NOT_READ: Final = "The session manager has not read its records yet. Ask again in a few seconds."


class NotSignedIn(SessionError):
    """No token, or one that the hub does not know."""

    code = "not_signed_in"
    status = 401


class NotFound(NotYours):
    """A session that is not there, or is somebody else's: which of the two is not told."""

    code = "no_such_session"
    status = 404

    def __init__(self, session: str) -> None:
        super().__init__(
            f"There is no session {shown(session, limit=20)} of yours. Those that have ended are"
            " forgotten after a day."
        )


class V1(Answer):
    """An answer to programs: bearer tokens alone, no cookies, no redirects."""

    caller: Caller
    routes: Mapping[str, Route]
    """Those of this path, by method."""
    table: tuple[Route, ...]
    """All, where this describes them."""

    @override
    def initialize(self, **settings: Any) -> None:
        super().initialize()
        self.routes = settings["routes"]
        self.table = settings.get("table", ())

    @override
    async def prepare(self) -> None:
        await super().prepare()
        method = str(self.request.method)
        if method == "OPTIONS":
            return
        route = self.routes.get(method)
        if route is None and method == "HEAD":
            route = self.routes.get("GET")
        if route is None:
            raise web.HTTPError(405)
        await self._admit(route.access)

    async def _admit(self, access: Access) -> None:
        if access is Access.ANYBODY or (access is Access.MEASURER and self._is_local()):
            return
        token = bearer(self.request.headers.get("Authorization", ""))
        if not token:
            raise NotSignedIn(
                "Give a token, as Authorization: Bearer TOKEN. The hub's page of access tokens"
                " makes one."
            )
        if access is not Access.CALLER and self._is_hub(token):
            return
        caller = await self.manager.callers.of(token)
        if caller is None:
            raise NotSignedIn("The hub does not know this token, or not any more. Make a new one.")
        self.caller = caller
        if access is Access.HUB:
            raise NotYours("Only the hub itself tells this.")
        if access is Access.MEASURER:
            if _READ_METRICS not in caller.scopes:
                raise NotYours("This token may not read metrics: it needs read:metrics.")
        elif access is Access.OPERATOR:
            if not (caller.admin and caller.kind == "user" and _whole(caller)):
                raise NotYours("Only administrators may see this.")
        elif caller.kind != "user":
            raise NotYours("Sessions are people's; this is the token of a service.")
        elif not self.manager.loaded:
            # An empty list would say that there are no sessions.
            raise Unavailable(_NOT_READ)

    def _is_local(self) -> bool:
        """Say whether a program of this machine asks, and not the proxy for somebody else."""
        address = str(self.request.remote_ip)
        near = address.startswith("127.") or address == "::1"
        return near and "X-Forwarded-For" not in self.request.headers

    def _is_hub(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.manager.settings.token.encode())

    @override
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, SessionError):
            self.manager.metrics.refused(error.code)
        if status_code == 405:
            methods = {*self.routes, "OPTIONS"} | ({"HEAD"} if "GET" in self.routes else set())
            self.set_header("Allow", ", ".join(sorted(methods)))
        super().write_error(status_code, **kwargs)

    @override
    def head(self, *args: str) -> Any:
        """Answer as to GET; what is written is counted and left out."""
        return self.get(*args)

    # What was asked.

    def word(self, name: str) -> str:
        """Give a parameter of the query string, empty where it is not given.

        Raises
        ------
        Invalid
            It is given twice, or is no text.
        """
        values = [value for value in self.request.query_arguments.get(name, []) if value]
        if len(values) > 1:
            raise Invalid(f"{name} is given {len(values)} times; once is enough.", field=name)
        try:
            return values[0].decode() if values else ""
        except UnicodeDecodeError:
            raise Invalid(f"{name} is not UTF-8 text.", field=name) from None

    def json_object(self, known: tuple[str, ...]) -> dict[str, Any]:
        """Read a JSON object that has none but the known keys.

        Raises
        ------
        Invalid
        """
        body = self.json_body()
        if not isinstance(body, dict):
            raise Invalid("The body must be a JSON object.")
        for key in body:
            if key not in known:
                raise Invalid(
                    f"{shown(key)} is not known here; there is {' and '.join(known)}.",
                    field=shown(key),
                    allowed=known,
                    code="unknown_field",
                )
        return body

    # Sessions, by what the caller may do with them.

    def record(self, session: str, action: Action) -> SessionRecord:
        """Give a session with which the caller may do something.

        Raises
        ------
        NotFound
            She may not even see it, or it is not there.
        NotYours
            She may see it, and not do that.
        """
        found = self.manager.registry.get(session) or self.manager.creates.get(session)
        if found is None:
            raise NotFound(session)
        held = self.caller.authority(found.owner, found.id)
        if not held.permits(Action.SEE):
            raise NotFound(session)
        if not held.permits(action):
            raise NotYours("You may enter this session; only its owner may do that.")
        return found

    def demand(self, action: Action) -> None:
        """See to it that the token permits something with all sessions of its user.

        Raises
        ------
        NotYours
        """
        if not self.caller.may(action, self.caller.name):
            raise NotYours(
                "This token does not permit that. The hub's page of access tokens makes others.",
                code="scope_missing",
            )

    def groups(self) -> frozenset[str]:
        """Give the caller's groups, none where they are not known now."""
        try:
            return self.manager.identities.identity(self.caller.name).group_names
        except SessionError:
            return frozenset()


def _whole(caller: Caller) -> bool:
    """Say whether an administrator's token has its whole power: one for scripts has not."""
    return caller.may(Action.LIST, caller.name) and not {
        "admin:users",
        "admin:servers",
        "list:users",
    }.isdisjoint(caller.scopes)


class Context(V1):
    """What may be asked for."""

    @override
    def get(self) -> None:
        """Tell sizes and limits."""
        self.tell_json(wire.context_json(self.manager.policy(), self.groups()))


class Images(V1):
    """What may be started."""

    @override
    def get(self) -> None:
        """List the images of the site's containers that can run here now."""
        kind = wire.check_filter("type", self.word("type"), wire.TYPES)
        catalogue, backend = self.manager.policy().catalogue, self.manager.backend
        containers = [
            offer.narrowed(container)
            for container in catalogue.offered(self.groups())
            if (offer := backend.offer(container)).available
        ]
        digests = {
            str(record.plan.image): record.image_digest
            for record in self.manager.registry.live()
            if record.image_digest
        }
        rows = wire.images_json(containers, catalogue, digests)
        self.tell_json([row for row in rows if not kind or kind in row["types"]])


class Repository(V1):
    """Where images come from."""

    @override
    def get(self) -> None:
        """List the registries."""
        self.tell_json(wire.repositories(self.manager.policy()))


class Capabilities(V1):
    """What this service is, for clients that look for one."""

    @override
    def get(self) -> None:
        """Tell it as VOSI wants it."""
        self.set_header("Content-Type", "text/xml; charset=utf-8")
        self.finish(wire.capabilities_xml(self.manager.settings.public))


class Availability(V1):
    """Whether this service works."""

    @override
    def get(self) -> None:
        """Tell it as VOSI wants it."""
        self.set_header("Content-Type", "text/xml; charset=utf-8")
        self.finish(wire.availability_xml(self.manager.problems()))


class Document(V1):
    """The interface, described."""

    @override
    def get(self) -> None:
        """Give the document."""
        self.tell_json(document(self.table, self.manager.settings.public))


class Ping(V1):
    """The root of the interface, which clients call to see that there is one."""

    @override
    def head(self, *_: str) -> None:
        self.finish()


async def stats(answer: V1) -> dict[str, Any]:
    """Tell how much there is, and how much of it is taken.

    Raises
    ------
    Unavailable
        That is not known now: nothing is made up.
    """
    try:
        capacity = await answer.manager.backend.capacity()
    except SessionError as error:
        raise Unavailable(_NO_LOAD, detail=error.detail or error.sentence) from None
    if capacity is None:
        raise Unavailable(_NO_LOAD)
    return wire.stats_json(capacity, answer.manager.policy())


_NO_LOAD: Final = "The platform's load cannot be measured now. Try again in a minute."


def visible_to(caller: Caller, record: SessionRecord) -> bool:
    """Say whether somebody may see all of a session, and not only whose it is."""
    return caller.may(Action.EXTEND, record.owner, SessionId(record.id))


def described(handler: web.RequestHandler) -> tuple[str, str, str]:
    """Give the word of an answered route, whose token it was and which session it was about.

    Each is empty where there is none; nothing that a client made up is among them.
    """
    if not isinstance(handler, V1):
        return "page" if isinstance(handler, Answer) else "", "", ""
    route = handler.routes.get(str(handler.request.method))
    caller = getattr(handler, "caller", None)
    # A request that could not even be read has no parts of its path.
    parts = getattr(handler, "path_args", None) or [""]
    session = parts[0] if route is not None and "/{id}" in route.path else ""
    known = handler.manager.registry.get(session) is not None
    return (
        route.operation if route is not None else "",
        caller.name if caller is not None else "",
        session if known else "",
    )
