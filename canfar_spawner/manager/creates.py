"""Creates: from a request to the id of a session, answered at once, once for each key."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from canfar_spawner.core.authority import Action
from canfar_spawner.core.errors import Invalid, NotAllowed, RequestRefused, SessionError
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.limits import Usage
from canfar_spawner.core.names import SessionId, new_launch_id, new_session_id
from canfar_spawner.core.plan import plan_session
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import SessionRequest, options_of, parse_request
from canfar_spawner.manager.creating import kind_of
from canfar_spawner.manager.hubapi import Caller, HubAway, HubClient
from canfar_spawner.manager.records import SessionRecord

if TYPE_CHECKING:
    from canfar_spawner.manager.identities import HubIdentities
    from canfar_spawner.manager.jobs import Jobs
    from canfar_spawner.manager.registry import Registry

_ANSWER_WITHIN: Final = 20.0
"""Seconds that whoever asks is kept waiting for the judgement of the hub: milliseconds, and longer
where it has much to do. An id that is given earlier may be one of a session that is refused; the
public client itself waits for 30 seconds."""
_SHOWN_FOR: Final = timedelta(minutes=10)
"""For how long a session is shown that the hub has taken and not told of yet."""
_LONGEST_KEY: Final = 255

Late = Callable[[str, SessionRequest, SessionError], Coroutine[Any, Any, None]]


def scope_missing() -> NotAllowed:
    """Give the refusal for a token that may not launch."""
    error = NotAllowed(
        "This token does not permit launching sessions. Make one for scripts on the page of"
        " access tokens.",
        code="scope_missing",
    )
    error.status = 403
    return error


class Creates:
    """Takes requests, has the hub launch sessions and the jobs begin, and never twice.

    Parameters
    ----------
    hub : HubClient
    jobs : Jobs
    registry : Registry
    identities : HubIdentities
    policy : callable
        Gives the site's policy.
    late : callable
        Told of a launch that was refused after its id had been given.
    secret : str
        From which ids are made of keys, so that nobody else can tell them.
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(  # noqa: PLR0913 - the parts that it joins
        self,
        *,
        hub: HubClient,
        jobs: Jobs,
        registry: Registry,
        identities: HubIdentities,
        policy: Callable[[], SitePolicy],
        late: Late,
        secret: str,
        clock: Callable[[], datetime],
        log: logging.Logger,
    ) -> None:
        self._hub = hub
        self._jobs = jobs
        self._registry = registry
        self._identities = identities
        self._policy = policy
        self._late = late
        self._secret = secret.encode()
        self._clock = clock
        self._log = log
        self._untold: dict[SessionId, SessionRecord] = {}
        """What the hub has been asked for and has not told of yet."""
        self._heard: dict[SessionId, asyncio.Event] = {}
        self._keys: dict[tuple[str, str], asyncio.Task[SessionId]] = {}
        """Creates under way, by owner and key."""
        self._tasks: set[asyncio.Task[None]] = set()
        registry.subscribe(self._changed)

    def _changed(self, record: SessionRecord, what: str) -> None:
        if what == "added":
            self._untold.pop(record.id, None)
            heard = self._heard.get(record.id)
            if heard is not None:
                heard.set()

    # What is on its way.

    def untold(self, owner: str) -> tuple[SessionRecord, ...]:
        """Give an owner's sessions that the hub was asked for and has not told of, newest first."""
        oldest = self._clock() - _SHOWN_FOR
        for session, record in list(self._untold.items()):
            if record.asked < oldest:
                del self._untold[session]
        found = [record for record in self._untold.values() if record.owner == owner]
        return tuple(reversed(found))

    def get(self, session: str) -> SessionRecord | None:
        """Give such a session by its id."""
        return self._untold.get(SessionId(session))

    def forget(self, session: SessionId) -> None:
        """Show it no more: the hub was told to end it."""
        self._untold.pop(session, None)

    # Creating.

    async def create(
        self, caller: Caller, options: Mapping[str, object], *, key: str = ""
    ) -> SessionId:
        """Create a session or job.

        Parameters
        ----------
        caller : Caller
            Whose it will be, with the token that the hub judges by.
        options : mapping
            As `parse_request` takes them.
        key : str
            Asking again with the same one within a day gives the same session.

        Raises
        ------
        SessionError
        """
        if not caller.may(Action.CREATE, caller.name):
            raise scope_missing()
        request = parse_request(options)
        if not key:
            return await self._create(caller, request, new_session_id(secrets.choice))
        if not key.isprintable() or len(key) > _LONGEST_KEY:
            raise Invalid(
                f"An Idempotency-Key has at most {_LONGEST_KEY} printable characters.",
                field="Idempotency-Key",
            )
        task = self._keys.get((caller.name, key))
        if task is None:
            task = asyncio.ensure_future(self._once(caller, request, key))
            self._keys[caller.name, key] = task
            task.add_done_callback(lambda _: self._keys.pop((caller.name, key), None))
        return await asyncio.shield(task)

    def keyed(self, owner: str, key: str, day: datetime) -> SessionId:
        """Make the id that a key stands for on a day.

        It follows from the key, so that also a manager that was killed in between, or has lost
        its database, knows what it made of it.
        """
        text = f"{owner}\0{key}\0{day:%Y-%m-%d}".encode("utf-8", "surrogatepass")
        rest = int.from_bytes(hmac.digest(self._secret, text, hashlib.sha256), "big")

        def choose(letters: str) -> str:
            nonlocal rest
            rest, place = divmod(rest, len(letters))
            return letters[place]

        return new_session_id(choose)

    async def _once(self, caller: Caller, request: SessionRequest, key: str) -> SessionId:
        now = self._clock()
        for day in (now, now - timedelta(days=1)):
            session = self.keyed(caller.name, key, day)
            known = self._registry.get(session) or self.get(session)
            if known is not None and known.owner == caller.name:
                return session
        session = self.keyed(caller.name, key, now)
        try:
            return await self._create(caller, request, session)
        except RequestRefused:
            # An earlier manager may have had the hub launch it.
            if await self._hub.knows(caller.name, session):
                return session
            raise

    async def _create(
        self, caller: Caller, request: SessionRequest, session: SessionId
    ) -> SessionId:
        if kind_of(request, self._policy()) is SessionKind.HEADLESS:
            await self._identities.told_of(caller.name)
            return await self._jobs.create(caller.name, request, by=caller.name, session=session)
        await self._launch(caller, request, session)
        return session

    async def _launch(self, caller: Caller, request: SessionRequest, session: SessionId) -> None:
        owner = caller.name
        heard = self._heard[session] = asyncio.Event()
        launch = asyncio.ensure_future(
            self._hub.launch(caller.token.get_secret_value(), owner, session, options_of(request))
        )
        told = asyncio.ensure_future(heard.wait())
        try:
            # The hub tells of a session as soon as it has taken it; of a refusal, it answers.
            await asyncio.wait(
                {launch, told}, timeout=_ANSWER_WITHIN, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            told.cancel()
            self._heard.pop(session, None)
        if not launch.done():
            self._foresee(owner, request, session)
            work = asyncio.ensure_future(self._see_through(launch, owner, request, session))
            self._tasks.add(work)
            work.add_done_callback(self._tasks.discard)
            return
        error = launch.exception()
        if error is None:
            self._foresee(owner, request, session)
        elif not (isinstance(error, HubAway) and self._registry.get(session)):
            raise error

    def _foresee(self, owner: str, request: SessionRequest, session: SessionId) -> None:
        """Show a session whose id is given until the hub tells of it; the hub's own plan counts."""
        if self._registry.get(session) is not None:
            return
        now = self._clock()
        try:
            plan = plan_session(
                request,
                identity=self._identities.identity(owner),
                policy=self._policy(),
                usage=Usage(),
                now=now,
                session=session,
                launch=new_launch_id(session, secrets.choice),
            )
        except SessionError:
            return
        self._untold[session] = SessionRecord(plan=plan, name=plan.name, asked=now, ends=plan.ends)

    async def _see_through(
        self,
        launch: asyncio.Future[None],
        owner: str,
        request: SessionRequest,
        session: SessionId,
    ) -> None:
        """See what becomes of a launch whose id has been given already."""
        try:
            await launch
        except HubAway as error:
            # It may have been launched all the same; what is known of it is shown for a while.
            self._log.warning("The hub was away while it launched %s: %s", session, error.detail)
        except SessionError as error:
            self._untold.pop(session, None)
            self._log.info("%s did not come to be: %s", session, error.detail or error.sentence)
            await self._late(owner, request, error)
        except Exception:  # noqa: BLE001 - nobody waits for it any more
            self._log.exception("%s could not be launched", session)

    async def settle(self) -> None:
        """Wait until every launch under way is answered."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
