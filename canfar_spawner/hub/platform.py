"""One hub's platform: its policy, its users, its back end, and requests under way."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from canfar_spawner.core.backend import Backend, Unclaimed
from canfar_spawner.core.errors import NotAllowed
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.identity import IdentitySource
from canfar_spawner.core.kinds import KINDS, SessionKind
from canfar_spawner.core.limits import Usage
from canfar_spawner.core.names import LaunchId, SessionId, new_launch_id, new_session_id
from canfar_spawner.core.plan import SessionPlan, plan_session
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import SessionRequest
from canfar_spawner.hub.ended import EndedLaunches
from canfar_spawner.hub.news import HubNews
from canfar_spawner.hub.outbox import Outbox
from canfar_spawner.hub.recent import RecentEndings
from canfar_spawner.hub.starts import StartTimes
from canfar_spawner.site.files import WatchedFile

SETTING = "canfar_platform"
"""The key of JupyterHub's settings under which handlers and spawners find the platform."""

RESERVED_FOR = timedelta(seconds=60)
"""For how long a launch that was let through counts, if nothing comes of it."""


def utc_now() -> datetime:
    """Give the time in UTC."""
    return datetime.now(UTC)


class Admission(Frozen):
    """A request that passed the gate and whose session has not started yet."""

    request: SessionRequest
    """With the values of env and the registry's secret: nowhere else are they kept."""
    policy: SitePolicy
    """What it was judged by; the same judges it again at the start."""
    at: datetime


class Platform:
    """What gate, spawners and pages of one hub share.

    Parameters
    ----------
    policy : WatchedFile of SitePolicy
    identities : IdentitySource
    backend : Backend
    data : Path
        The hub's own directory.
    log : logging.Logger
    notices : tuple of str
        What users must know of this installation; shown on every page.
    clock : callable
        Gives the time in UTC.
    """

    def __init__(
        self,
        *,
        policy: WatchedFile[SitePolicy],
        identities: IdentitySource,
        backend: Backend,
        data: Path,
        log: logging.Logger,
        notices: tuple[str, ...] = (),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._policy = policy
        self.identities = identities
        self.backend = backend
        self.data = data
        self.log = log
        self.notices = notices
        self.clock = clock
        self.outbox = Outbox(data / "outbox.jsonl", log)
        self.recent = RecentEndings(clock)
        self.news = HubNews(self.recent, clock, log)
        self.ended = EndedLaunches(data / "ended", clock)
        self.starts = StartTimes(data / "starts.json", log)
        self.adoptions: dict[tuple[str, SessionId], Unclaimed] = {}
        """Sessions that run already and are to be taken up in place of being started."""
        self.adopting: set[str] = set()
        """The users whose sessions are being looked for."""
        self.tasks: set[asyncio.Task[None]] = set()
        """What goes on in the background."""
        self._admitted: dict[tuple[str, SessionId], Admission] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Stay the one platform of the process: traitlets copies what a configuration holds."""
        return self

    def keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have something go on in the background."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    @property
    def policy(self) -> SitePolicy:
        """The policy as the catalogue file has it now."""
        return self._policy.value

    def fresh_session(self) -> SessionId:
        """Make a session id for a form's address."""
        return new_session_id(secrets.choice)

    def fresh_launch(self, session: SessionId) -> LaunchId:
        """Make the id of one launch."""
        return new_launch_id(session, secrets.choice)

    def plan(
        self,
        request: SessionRequest,
        *,
        owner: str,
        session: SessionId,
        active: frozenset[str],
        policy: SitePolicy | None = None,
    ) -> SessionPlan:
        """Plan a session that this platform could run now.

        Parameters
        ----------
        request : SessionRequest
        owner : str
            The name the hub has verified.
        session : SessionId
        active : frozenset of str
            The owner's sessions that run or start, as far as the hub's own objects tell.
        policy : SitePolicy, optional
            What to judge by; by default the policy as it is now.

        Raises
        ------
        SessionError
        """
        others = (active | self._admitted_sessions(owner)) - {session}
        plan = plan_session(
            request,
            identity=self.identities.identity(owner),
            policy=policy or self.policy,
            usage=Usage(interactive=len(others)),
            now=self.clock(),
            session=session,
            launch=self.fresh_launch(session),
        )
        if not KINDS[plan.kind].interactive:
            # It would be a server that nobody can open and that counts against no limit.
            raise NotAllowed(
                "Batch jobs are not launched as sessions with a page; leave kind out, or choose"
                " another.",
                field="kind",
                allowed=(kind for kind in SessionKind if KINDS[kind].interactive),
                code="not_interactive",
            )
        self.backend.accepts(plan)
        return plan

    def _admitted_sessions(self, owner: str) -> frozenset[str]:
        now = self.clock()
        for key, admission in list(self._admitted.items()):
            if now - admission.at > RESERVED_FOR:
                del self._admitted[key]
        return frozenset(session for name, session in self._admitted if name == owner)

    def admit(self, owner: str, session: SessionId, request: SessionRequest) -> None:
        """Keep a request, secrets and all, from the gate to its session's start.

        It counts against the owner's limit from here on: between the gate and the hub's own
        bookkeeping other requests are served.
        """
        self._admitted[owner, session] = Admission(
            request=request, policy=self.policy, at=self.clock()
        )

    def admitted(self, owner: str, session: SessionId) -> Admission | None:
        """Give the request that the gate let through, if it is still waiting."""
        return self._admitted.get((owner, session))

    def release(self, owner: str, session: SessionId) -> None:
        """Forget a request: its session runs, or failed to."""
        self._admitted.pop((owner, session), None)
