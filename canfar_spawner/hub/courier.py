"""What goes on between hub and session manager: events and identities out, news in.

One task of the hub, whatever its back end. It waits for nobody and nobody waits for it: what
cannot be delivered stays in the outbox, and the manager is asked again, ever more rarely.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from canfar_spawner.core.errors import NotAllowed, SessionError
from canfar_spawner.core.events import SessionEvent
from canfar_spawner.core.identity import IdentitySource
from canfar_spawner.hub.platform import Platform
from canfar_spawner.hub.service import SessionsService

BEAT: Final = 5.0
"""Seconds between two messages where nothing happens."""
_LONGEST_WAIT: Final = 15.0
"""Seconds until a manager that is away is asked again, at most."""
_FIRST_WAIT: Final = 0.5
_WORTH_SAYING: Final = 4
"""Failures in a row, some seconds, after which the log says so."""
_ANSWER_WITHIN: Final = 20.0
_PEOPLE_AT_ONCE: Final = 300
"""Identities looked up for one message: the hub has other things to do."""
_SERVED_AFTER: Final = 50
_BYTES_AT_ONCE: Final = 300_000
_GONE: Final = "This account is no longer known here. Ask the administrators."


class ManagerAway(Exception):
    """The session manager did not take a message; says why, for the log."""


class HubPeople:
    """Whom the hub's database knows, and when their sessions were last used."""

    def names(self) -> tuple[str, ...] | None:
        """Give the names of all users, None before the hub is ready to say."""
        db = _database()
        if db is None:
            return None
        with db.no_autoflush:
            return tuple(name for (name,) in db.query(orm.User.name))

    def activity(self) -> dict[str, datetime]:
        """Give when each running session was last used, as far as the proxy has noticed."""
        db = _database()
        if db is None:
            return {}
        with db.no_autoflush:
            rows = (
                db.query(orm.Spawner.name, orm.Spawner.last_activity)
                .filter(orm.Spawner.name != "", orm.Spawner.server_id.isnot(None))
                .all()
            )
        return {name: at.replace(tzinfo=at.tzinfo or UTC) for name, at in rows if at is not None}


def _database() -> Any:
    if not JupyterHub.initialized():
        return None
    hub = JupyterHub.instance()
    # Until it serves, its users are still being read and changed.
    return hub.db if hub.http_server is not None else None


class Courier:
    """Speaks with the session manager for as long as the hub runs.

    Parameters
    ----------
    platform : Platform
    url : str
        Where events are taken.
    token : str
        The secret that hub and manager share.
    people : HubPeople
    """

    def __init__(self, platform: Platform, *, url: str, token: str, people: HubPeople) -> None:
        self._platform = platform
        self._url = url
        self._token = token
        self._people = people
        self._roll = IdentityRoll(platform.identities, platform.log)
        self._activity: dict[str, datetime] = {}
        self._looked = float("-inf")
        """When users were last looked up for what was taken."""
        self._run = secrets.token_hex(8)
        self._fresh = True
        self._epoch = ""
        self._cursor = 0
        self._more = False
        self._woken = asyncio.Event()
        self._failures = 0
        # The hub's own client has few connections, which a manager that hangs would take up.
        self._client = AsyncHTTPClient(force_instance=True, max_clients=2)
        platform.outbox.appended = self._woken.set

    @property
    def away(self) -> bool:
        """Whether the manager did not take the last message."""
        return self._failures > 0

    async def run(self) -> None:
        """Go on until the hub ends."""
        while not self._hub_serves():  # noqa: ASYNC110 - JupyterHub tells nobody
            await asyncio.sleep(_FIRST_WAIT)
        while True:
            pause = await self.beat()
            await asyncio.sleep(pause)

    def _hub_serves(self) -> bool:
        try:
            return self._people.names() is not None
        except Exception as error:  # noqa: BLE001 - this must not be the end of it
            self._platform.log.info("The hub's database does not answer yet: %r", error)
            return False

    async def beat(self) -> float:
        """Exchange what there is, and give the seconds to wait before the next time.

        Waits itself until there is something to deliver, or the time has come.
        """
        if self._roll.complete and not (self._failures or self._more):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), BEAT)
        self._woken.clear()
        try:
            if not await self._platform.outbox.deliver(self._post):
                await self._post(())
        except Exception as error:  # noqa: BLE001 - whatever it is, the hub's sessions go on
            self._note_failure(error)
            # Twice as long each time, and not at once: a storm helps nobody.
            return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(self._failures - 1, 10))
        if self._failures >= _WORTH_SAYING:
            self._platform.log.info("The session manager answers again")
        self._failures = 0
        return 0.0

    def _note_failure(self, error: Exception) -> None:
        self._failures += 1
        # Both may be about to start, or one of them may be.
        level = logging.WARNING if self._failures == _WORTH_SAYING else logging.DEBUG
        self._platform.log.log(
            level, "The session manager takes no events now; they are kept: %s", error
        )

    async def _post(self, events: Sequence[SessionEvent]) -> bool:
        now = asyncio.get_running_loop().time()
        # With a burst of events nobody is looked up for each of them.
        due = not self._roll.complete or now - self._looked >= BEAT
        identities, activity = await self._about_people() if due else ([], self._activity)
        body = {
            "run": self._run,
            "fresh": self._fresh,
            "epoch": self._epoch,
            "cursor": self._cursor,
            "events": [event.model_dump(mode="json") for event in events],
            "identities": identities,
            "complete": self._roll.complete,
            "activity": {
                session: at.isoformat()
                for session, at in activity.items()
                if self._activity.get(session) != at
            },
        }
        answer = await self._exchange(body)
        self._fresh = False
        self._activity = activity
        self._roll.taken(identities)
        if due:
            self._looked = now
        self._hear(answer)
        return True

    async def _about_people(self) -> tuple[list[dict[str, object]], dict[str, datetime]]:
        names = self._people.names()
        if names is None:
            raise ManagerAway("the hub is not ready")
        return await self._roll.changes(names), self._people.activity()

    async def _exchange(self, body: Mapping[str, object]) -> Mapping[str, Any]:
        request = HTTPRequest(
            self._url,
            method="POST",
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/json",
            },
            body=json.dumps(body),
            request_timeout=_ANSWER_WITHIN,
            connect_timeout=_ANSWER_WITHIN,
            follow_redirects=False,
        )
        try:
            answer = await self._client.fetch(request, raise_error=False)
        except OSError as error:
            raise ManagerAway(str(error)) from None
        if answer.code != 200:
            raise ManagerAway(f"it answers {answer.code} {answer.reason}")
        try:
            content = json.loads(answer.body)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise ManagerAway("its answer cannot be read")
        return content

    def _hear(self, answer: Mapping[str, Any]) -> None:
        news = answer.get("news")
        self._platform.news.take(news if isinstance(news, list) else ())
        epoch, cursor = answer.get("epoch"), answer.get("cursor")
        self._epoch = epoch if isinstance(epoch, str) else ""
        self._cursor = cursor if isinstance(cursor, int) else 0
        self._more = answer.get("more") is True
        if answer.get("resend") is True:
            self._roll.forget()
            self._activity = {}


class IdentityRoll:
    """Which identities the manager has been told, and which it has to be told now.

    Parameters
    ----------
    source : IdentitySource
    log : logging.Logger
    """

    def __init__(self, source: IdentitySource, log: logging.Logger) -> None:
        self._source = source
        self._log = log
        self._told: dict[str, bytes] = {}
        """What was told and taken, as a digest."""
        self._next = 0
        self.complete = False
        """Whether, with the changes given last, everybody has been told of."""

    def forget(self) -> None:
        """Tell everything anew."""
        self._told.clear()
        self.complete = False

    async def changes(self, names: Iterable[str]) -> list[dict[str, object]]:
        """Look some users up, new ones first, and give what has not been told of them yet."""
        everybody = list(names)
        known = set(everybody)
        new = [name for name in everybody if name not in self._told]
        turns = min(_PEOPLE_AT_ONCE, len(everybody))
        turn = [everybody[(self._next + step) % len(everybody)] for step in range(turns)]
        self._next = (self._next + turns) % max(1, len(everybody))
        found: list[dict[str, object]] = [
            {"name": name, "identity": None, "refusal": _GONE, "gone": True}
            for name in [name for name in self._told if name not in known][:_PEOPLE_AT_ONCE]
        ]
        length = 0
        for count, name in enumerate(list(dict.fromkeys([*new, *turn]))[:_PEOPLE_AT_ONCE]):
            if count % _SERVED_AFTER == 0:
                # Pages are served meanwhile.
                await asyncio.sleep(0)
            said = self._look_up(name)
            if self._told.get(name) != _digest(said):
                found.append(said)
                length += len(json.dumps(said))
            if length > _BYTES_AT_ONCE:
                break
        self.complete = known <= self._told.keys() | {each["name"] for each in found}
        return found

    def taken(self, said: Iterable[dict[str, object]]) -> None:
        """Note that the manager has been told."""
        for each in said:
            name = str(each["name"])
            if each.get("gone"):
                self._told.pop(name, None)
            else:
                self._told[name] = _digest(each)

    def _look_up(self, name: str) -> dict[str, object]:
        try:
            identity = self._source.identity(name)
        except NotAllowed as error:
            return {"name": name, "identity": None, "refusal": error.sentence, "code": error.code}
        except Exception as error:  # noqa: BLE001 - no source that fails may end anything
            detail = error.detail if isinstance(error, SessionError) else repr(error)
            self._log.info("Nothing is known of the identity of %s now: %s", name, detail)
            # That there is such a user is known; what was said of her before stays.
            return {"name": name, "identity": None, "refusal": "", "unknown": True}
        return {"name": name, "identity": identity.model_dump(mode="json"), "refusal": ""}


def _digest(said: Mapping[str, object]) -> bytes:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()[:16]


def keep_in_touch(platform: Platform, sessions: SessionsService, *, base_url: str) -> None:
    """Begin to speak with the session manager, if this process is a hub.

    Parameters
    ----------
    platform : Platform
    sessions : SessionsService
    base_url : str
        The hub's, with a slash at both ends.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # Not a hub: something that only reads its configuration.
        return
    courier = Courier(
        platform,
        url=f"{sessions.at(base_url)}/v1/events",
        token=sessions.token,
        people=HubPeople(),
    )
    platform.keep(courier.run())
