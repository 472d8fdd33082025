"""The hub's REST API: everything that the session manager asks the hub or has it do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from pydantic import SecretStr, ValidationError
from tornado.httpclient import HTTPError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from canfar_spawner.core.authority import Action, Authority, authority
from canfar_spawner.core.errors import (
    Busy,
    Conflict,
    Invalid,
    LimitReached,
    NotAllowed,
    RequestRefused,
    SessionError,
    StartFailed,
    Unavailable,
    shown,
)
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.names import SessionId, session_id
from canfar_spawner.core.plan import SessionPlan

_PAGE: Final = 200
"""Users of one answer; the hub gives no more."""
_PAGED: Final = "application/jupyterhub-pagination+json"
_AT_ONCE: Final = 200
_LAUNCHES: Final = 500
"""Launches under way: each waits for up to ten seconds, and none may keep a stop from the hub."""
_CONNECT: Final = 5.0
_ANSWER: Final = 20.0
_LAUNCH: Final = 60.0
_LONGEST_TOKEN: Final = 4096
_LONGEST_SENTENCE: Final = 1000
_BUSY: Final = 30
"""Seconds after which a busy hub is asked again, where it does not say."""
_CLASSES: Final[Mapping[str, type[RequestRefused]]] = {
    each.code: each for each in (Invalid, NotAllowed, LimitReached, Conflict)
}
_PLAN: Final = "canfar"
"""Where a spawner's state has the plan."""


class HubAway(Unavailable):
    """The hub gives no answer, or none that can be used."""

    code = "hub_away"

    def __init__(self, detail: str = "") -> None:
        super().__init__("The hub does not answer now. Try again in a minute.", detail=detail)


class HubBusy(Busy):
    """The hub takes no more launches for the moment."""

    code = "hub_busy"


class Caller(Frozen):
    """Whoever presents a token, and what the token permits."""

    name: str
    kind: str
    """``user`` or ``service``."""
    admin: bool = False
    scopes: frozenset[str] = frozenset()
    token_id: str = ""
    session_id: str = ""
    """Of the browser's session that the token came from, where it did."""
    token: SecretStr

    def authority(self, owner: str, session: SessionId | None = None) -> Authority:
        """Weigh the token against a session, or against the owner's sessions as a whole."""
        return authority(self.scopes, owner=owner, session=session)

    def may(self, action: Action, owner: str, session: SessionId | None = None) -> bool:
        """Say whether the token permits something."""
        return self.authority(owner, session).permits(action)


class HubServer(Frozen):
    """A named server as the hub knows it."""

    owner: str
    session: SessionId
    ready: bool
    pending: str | None
    url: str
    plan: SessionPlan | None
    started: datetime | None


def _body(answer: HTTPResponse) -> Any:
    try:
        return json.loads(answer.body or b"null")
    except (ValueError, RecursionError):
        return None


def _retry_after(answer: HTTPResponse) -> int:
    text = answer.headers.get("Retry-After", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else _BUSY


def refusal(answer: HTTPResponse) -> SessionError:
    """Turn an answer that is none of those hoped for into what its sentence and code mean.

    Parameters
    ----------
    answer : HTTPResponse
        With a status of 400 or more.
    """
    found = _body(answer)
    body: dict[str, Any] = found if isinstance(found, dict) else {}
    sentence = str(body.get("message") or "")[:_LONGEST_SENTENCE]
    allowed = body.get("allowed")
    code = str(body.get("code") or "")
    if answer.code == 429:
        return HubBusy(sentence or "The hub takes no more launches now.", _retry_after(answer))
    if answer.code == 424:
        return StartFailed(sentence or StartFailed.code, code=code)
    if answer.code >= 500 or not sentence:
        return HubAway(f"the hub answered {answer.code}: {shown(sentence)}")
    if answer.code in (401, 403) and not code:
        error: SessionError = NotAllowed(
            "This token does not permit that, or the hub has withdrawn it. Make a new one on the"
            " page of access tokens.",
            code="scope_missing",
            detail=sentence,
        )
        error.status = 403
        return error
    made = _CLASSES.get(code, Conflict if answer.code == 409 else RequestRefused)(
        sentence,
        field=str(body.get("field") or ""),
        allowed=allowed if isinstance(allowed, list) else (),
        code=code,
    )
    made.status = answer.code
    return made


class HubClient:
    """Speaks to one hub.

    Parameters
    ----------
    api : str
        Its REST API, without a slash at the end.
    token : str
        The service's own; a launch is made with the token of whoever asks for it.
    """

    def __init__(self, api: str, token: str) -> None:
        self._api = api.rstrip("/")
        self._token = token
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=_AT_ONCE)
        self._launches = SimpleAsyncHTTPClient(force_instance=True, max_clients=_LAUNCHES)

    def close(self) -> None:
        """Leave the hub alone."""
        self._client.close()
        self._launches.close()

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: object = None,
        within: float = _ANSWER,
        client: SimpleAsyncHTTPClient | None = None,
    ) -> HTTPResponse:
        request = HTTPRequest(
            f"{self._api}{path}",
            method=method,
            headers={
                "Authorization": f"token {token or self._token}",
                "Accept": _PAGED,
                "Content-Type": "application/json",
            },
            body=None if body is None else json.dumps(body),
            allow_nonstandard_methods=True,
            follow_redirects=False,
            connect_timeout=_CONNECT,
            request_timeout=within,
        )
        try:
            return await (client or self._client).fetch(request, raise_error=False)
        except (HTTPError, OSError) as error:
            # The client raises what is no answer at all; nothing it says holds a token.
            raise HubAway(f"{method} {path}: {error}") from None

    async def _done(self, method: str, path: str, **arguments: Any) -> Any:
        answer = await self._ask(method, path, **arguments)
        if answer.code >= 300:
            raise refusal(answer)
        return _body(answer)

    @staticmethod
    def _server(owner: str, session: str) -> str:
        return f"{quote(owner, safe='')}/servers/{quote(session, safe='')}"

    @staticmethod
    def _shares(owner: str, session: str) -> str:
        return f"/shares/{quote(owner, safe='')}/{quote(session, safe='')}"

    # Who somebody is.

    async def whoami(self, token: str) -> Caller | None:
        """Find out whose token it is; None where it is nobody's.

        Raises
        ------
        HubAway
        """
        if not token.isascii() or not token.isprintable() or not 0 < len(token) <= _LONGEST_TOKEN:
            return None
        answer = await self._ask("GET", "/user", token=token)
        if answer.code in (401, 403):
            return None
        if answer.code != 200:
            raise HubAway(f"GET /user: {answer.code}")
        said = _body(answer)
        try:
            return Caller(
                name=said["name"],
                kind=said["kind"],
                admin=bool(said.get("admin")),
                scopes=frozenset(said["scopes"]),
                token_id=str(said.get("token_id") or ""),
                session_id=str(said.get("session_id") or ""),
                token=SecretStr(token),
            )
        except (KeyError, TypeError, ValidationError):
            raise HubAway("GET /user: the answer cannot be read") from None

    # Sessions.

    async def launch(
        self, token: str, owner: str, session: SessionId, options: Mapping[str, object]
    ) -> None:
        """Launch an interactive session, with the token of whoever asks for it.

        Returns as soon as it is ready, or after the seconds that the hub itself waits.

        Raises
        ------
        RequestRefused
            In the hub's own words.
        StartFailed
        HubBusy
        HubAway
            It may have been launched all the same.
        """
        answer = await self._ask(
            "POST",
            f"/users/{self._server(owner, session)}",
            token=token,
            body={"user_options": dict(options)},
            within=_LAUNCH,
            client=self._launches,
        )
        if answer.code >= 300:
            raise refusal(answer)

    async def stop(self, owner: str, session: SessionId) -> None:
        """Have the hub end a session; one that is not there has ended.

        Raises
        ------
        SessionError
        """
        answer = await self._ask("DELETE", f"/users/{self._server(owner, session)}", within=_LAUNCH)
        if answer.code >= 300 and answer.code != 404:
            raise refusal(answer)

    async def knows(self, owner: str, session: SessionId) -> bool:
        """Say whether the hub has a session that runs, starts or stops.

        Raises
        ------
        SessionError
        """
        answer = await self._ask("GET", f"/users/{self._server(owner, session)}")
        if answer.code == 404:
            return False
        if answer.code >= 300:
            raise refusal(answer)
        found = _body(answer)
        return isinstance(found, dict) and not found.get("stopped", True)

    async def servers(self) -> tuple[HubServer, ...]:
        """List every named server that runs, starts or stops.

        Raises
        ------
        SessionError
        """
        return tuple([server async for user in self._users() for server in _servers(user)])

    async def users(self) -> tuple[str, ...]:
        """List everybody the hub knows.

        Raises
        ------
        SessionError
        """
        return tuple([str(user["name"]) async for user in self._users()])

    async def _users(self) -> AsyncIterator[Mapping[str, Any]]:
        async for each in self._pages("/users"):
            yield each

    async def _pages(self, path: str) -> AsyncIterator[Mapping[str, Any]]:
        offset = 0
        while True:
            query = urlencode({"limit": _PAGE, "offset": offset})
            page = await self._done("GET", f"{path}?{query}")
            try:
                items = page["items"]
                after = page["_pagination"]["next"]
                following = after["offset"] if after else None
            except (KeyError, TypeError):
                raise HubAway(f"GET {path}: the answer cannot be read") from None
            for item in items:
                yield item
            if following is None or following <= offset:
                return
            offset = following

    # Shares: the hub keeps one for every person, and knows no end of them.

    async def share(self, owner: str, session: SessionId, user: str) -> None:
        """Let somebody in.

        Raises
        ------
        SessionError
        """
        await self._done("POST", self._shares(owner, session), body={"user": user})

    async def unshare(self, owner: str, session: SessionId, user: str) -> None:
        """Let somebody in no more; a session that is gone lets nobody in.

        Raises
        ------
        SessionError
        """
        answer = await self._ask("PATCH", self._shares(owner, session), body={"user": user})
        if answer.code >= 300 and answer.code != 404:
            raise refusal(answer)

    async def unshare_all(self, owner: str, session: SessionId) -> None:
        """Let nobody in but the owner.

        Raises
        ------
        SessionError
        """
        answer = await self._ask("DELETE", self._shares(owner, session))
        if answer.code >= 300 and answer.code != 404:
            raise refusal(answer)

    async def shared_with(self, owner: str, session: SessionId) -> frozenset[str]:
        """Say who is let in, by name; nobody where the session is gone.

        Raises
        ------
        SessionError
        """
        try:
            found = [each async for each in self._pages(self._shares(owner, session))]
        except RequestRefused as error:
            if error.status == 404:
                return frozenset()
            raise
        return frozenset(str(each["user"]["name"]) for each in found if each.get("user"))


def _servers(user: Mapping[str, Any]) -> list[HubServer]:
    found = []
    for name, server in (user.get("servers") or {}).items():
        try:
            session = session_id(name)
        except Invalid:  # the nameless server, or another spawner's
            continue
        kept = (server.get("state") or {}).get(_PLAN) or {}
        try:
            plan = SessionPlan.model_validate(kept["plan"])
        except (KeyError, TypeError, ValidationError):
            plan = None
        started = server.get("started")
        found.append(
            HubServer(
                owner=user["name"],
                session=session,
                ready=bool(server.get("ready")),
                pending=server.get("pending"),
                url=str(server.get("full_url") or server.get("url") or ""),
                plan=plan,
                started=datetime.fromisoformat(started) if started else None,
            )
        )
    return found
