"""What every spawner of the platform does, whatever carries its sessions out."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from secrets import token_urlsafe
from typing import Any, TypeVar, cast

from jupyterhub import orm
from jupyterhub.spawner import Spawner
from pydantic import SecretStr
from sqlalchemy.orm import object_session
from traitlets import Float, default
from typing_extensions import override

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.errors import Invalid, SessionError, StartFailed
from canfar_spawner.core.events import What
from canfar_spawner.core.names import SessionId, session_id
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.request import (
    SessionRequest,
    options_of,
    parse_request,
    without_secrets,
)
from canfar_spawner.core.status import (
    REASONS,
    STARTUP,
    Evidence,
    Life,
    Phase,
    Reason,
    explained,
    is_over,
)
from canfar_spawner.core.view import SessionView, session_view
from canfar_spawner.hub.answering import PHASE_SENTENCES, answers
from canfar_spawner.hub.gate import active_sessions
from canfar_spawner.hub.platform import SETTING, Platform
from canfar_spawner.hub.refusing import refusal
from canfar_spawner.hub.routes import route_when_checked
from canfar_spawner.hub.rows import (
    KEEP_ENDED,
    KEEP_FAILED,
    DeepLink,
    forget_token,
    remove_row,
)
from canfar_spawner.hub.stopping import stop_when_possible
from canfar_spawner.hub.telling import event_of

_STATE = "canfar"
_REDIRECTED_WITHIN = 1.5
"""Seconds after which JupyterHub has sent the form's sender to the progress page."""
_TELL_EVERY = 0.3
"""Seconds between the messages of a start's progress."""
_LOOK_EVERY = 0.1
"""Seconds between looks at a starting session."""


_Method = TypeVar("_Method", bound=Callable[..., Any])


def with_catalogue(method: _Method) -> _Method:
    """Let a method step aside for the spawner behind it where the hub has no catalogue."""

    @functools.wraps(method)
    def chosen(self: SessionSpawnerMixin, *args: Any, **kwargs: Any) -> Any:
        if self.managed:
            return method(self, *args, **kwargs)
        return getattr(super(SessionSpawnerMixin, self), method.__name__)(*args, **kwargs)

    return cast("_Method", chosen)


class SessionSpawnerMixin(Spawner):  # type: ignore[misc] # JupyterHub ships no types
    """A named server as a session: planned, started, watched and forgotten.

    A subclass implements `launch`, which has the back end start the planned session, and
    `address`, which says where it listens.
    """

    expected_phases: tuple[Phase, ...] = STARTUP
    """The phases that a start on this back end goes through."""

    slow_start = Float(
        280.0,
        config=True,
        help="""
        Seconds for which a session that was asked for but does not answer yet is waited for.

        Keep it below ``start_timeout``, so that the reason reaches the page.
        """,
    )

    @property
    def managed(self) -> bool:
        """Whether the hub has a catalogue; without one nothing here changes a spawner."""
        return SETTING in (getattr(self.user, "settings", None) or {})

    @property
    def platform(self) -> Platform:
        """The platform of this hub."""
        found: Platform = self.user.settings[SETTING]
        return found

    def __init__(self, **kwargs: Any) -> None:
        self.plan: SessionPlan | None = None
        self.last_plan: SessionPlan | None = None
        """What failed to start, for the page that says so."""
        self.failure: str | None = None
        """Why the start failed, in a sentence."""
        self.last_words = ""
        """The last lines that a program wrote which ended before it was ready."""
        self.hindrance = ""
        """Why the session has not ended yet although it was told to, in a sentence."""
        self.evidence = Evidence(life=Life.STARTING)
        self.phases: dict[Phase, str] = {}
        self._token_id: int | None = None
        self._request: SessionRequest | None = None
        """With its secrets, from the plan to the start."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked_to_end = False
        self._left_alone = False
        """It ran already and could not be taken up now: it runs on, and the next visit tries again."""
        self.stopped_alive = False
        """It was told to end, and had not ended already."""
        super().__init__(**kwargs)

    # Options: judged by the gate, applied once more here, stored without secrets.

    @default("options_from_form")
    def _options_from_form_default(self) -> Any:
        if not self.managed:
            return super()._options_from_form_default()
        return self._options_of_admitted

    def _options_of_admitted(self, _fields: dict[str, list[str]]) -> dict[str, object]:
        """Give the options of the form that the gate has let through."""
        admission = self.platform.admitted(self.user.name, self._session())
        if admission is None:
            raise refusal(Invalid("This form is too old. Open it again and launch."))
        return without_secrets(options_of(admission.request))

    @override
    @with_catalogue
    def options_from_query(self, _query: dict[str, list[str]]) -> dict[str, object]:
        """Never give options: a link fills the form and launches nothing."""
        raise DeepLink

    @default("apply_user_options")
    def _apply_user_options_default(self) -> Any:
        if not self.managed:
            return {}
        return type(self)._apply  # noqa: SLF001 - a hook of this very class

    def _session(self) -> SessionId:
        if not self.name:
            raise refusal(Invalid("A session needs an id; launch it from the form."))
        try:
            return session_id(self.name)
        except SessionError as error:
            raise refusal(error) from None

    def _apply(self, options: dict[str, Any]) -> None:
        """Plan the session; JupyterHub calls this just before the start."""
        session = self._session()
        owner = self.user.name
        adoption = self.platform.adoptions.get((owner, session))
        if adoption is not None:
            self.plan, self._left_alone = adoption.plan, True
            self.apply_plan(adoption.plan)
            self._left_alone = False
            return
        admission = self.platform.admitted(owner, session)
        try:
            request = admission.request if admission else parse_request(options)
            self.plan = self.platform.plan(
                request,
                owner=owner,
                session=session,
                active=active_sessions(self.user),
                policy=admission.policy if admission else None,
            )
        except SessionError as error:
            raise refusal(error) from None
        self._request = request
        self.user_options = without_secrets(options_of(request))
        self.apply_plan(self.plan)

    def apply_plan(self, plan: SessionPlan) -> None:
        """Set what the back end's traits need; a subclass extends it."""

    # State: committed before the back end is asked for anything.

    @override
    @with_catalogue
    def get_state(self) -> dict[str, Any]:
        """Give what finds the session again after a restart of the hub."""
        state: dict[str, Any] = super().get_state()
        if self.plan is not None:
            # An adopted session's is registered only once it has been taken up.
            self._find_token()
            state[_STATE] = {
                "plan": self.plan.model_dump(mode="json"),
                "token_id": self._token_id,
            }
        return state

    @override
    @with_catalogue
    def load_state(self, state: dict[str, Any]) -> None:
        """Take up the session that a hub before this one has started."""
        super().load_state(state)
        kept = state.get(_STATE)
        if kept:
            self.plan = SessionPlan.model_validate(kept["plan"])
            self._token_id = kept.get("token_id")
            self.evidence = Evidence(life=Life.UNKNOWN)

    @override
    @with_catalogue
    def clear_state(self) -> None:
        """Forget the session."""
        super().clear_state()
        self.plan = None
        self._token_id = None

    def _commit_state(self) -> None:
        db = object_session(self.orm_spawner)
        if db is not None:
            self._token_id = None
            self.orm_spawner.state = self.get_state()
            db.commit()

    def _find_token(self) -> None:
        db = object_session(self.orm_spawner)
        if self._token_id is None and self.api_token and db is not None:
            token = orm.APIToken.find(db, self.api_token)
            self._token_id = token.id if token else None

    # Start, watch, stop.

    @override
    @with_catalogue
    async def rename(self, old_name: str, new_name: str) -> None:
        """Refuse: JupyterHub would give the row of an ended session an id nobody has checked."""
        raise refusal(Invalid("A session keeps its id."))

    async def launch(self, plan: SessionPlan, secrets: Secrets) -> None:
        """Have the back end start the session; implemented by the back end's spawner."""
        raise NotImplementedError

    async def address(self, plan: SessionPlan) -> str | None:
        """Say where the session listens, ``http://host:port``; None where that is not known yet."""
        raise NotImplementedError

    def hopeless(self, _evidence: Evidence) -> Reason | None:
        """Say why a start is given up before its time, if it is."""
        return None

    @override
    @with_catalogue
    async def start(self) -> str:
        """Start the session and wait until its program answers."""
        plan = self.plan
        if plan is None:
            raise refusal(Invalid("This server was never planned; launch it from the form."))
        begun = asyncio.get_running_loop().time()
        adoption = self.platform.adoptions.pop((plan.owner, plan.session), None)
        if adoption is not None:
            # JupyterHub registers the token, and the OAuth client with it, when this returns.
            self.api_token = adoption.token.get_secret_value()
        self._commit_state()
        self.tell(What.ASKED, by=self.user.name)
        self.enter(Phase.ASKED)
        secrets = Secrets(
            env=(
                # What is no text refers to something of the cluster and is the pod's.
                *(
                    (name, SecretStr(value))
                    for name, value in sorted(self.get_env().items())
                    if isinstance(value, str)
                ),
                *(self._request.env if self._request else ()),
            ),
            credentials=self._request.credentials if self._request else None,
            application=SecretStr(token_urlsafe(32)),
        )
        try:
            if adoption is None:
                await self.launch(plan, secrets)
            url = await self._answer(plan, begun + self.slow_start)
        except SessionError as error:
            self.log.warning("%s did not start: %s", self._log_name, error.detail or error.sentence)
            self.failure, self.last_plan = error.sentence, plan
            self._left_alone = adoption is not None and not is_over(self.evidence)
            if not self._left_alone:
                self.platform.recent.add(plan, self.evidence, sentence=error.sentence)
            # A failure within the first second would be shown in a form that has lost what was
            # filled in; a little later it is shown on the progress page, with what to do.
            took = asyncio.get_running_loop().time() - begun
            await asyncio.sleep(max(0.0, _REDIRECTED_WITHIN - took))
            raise refusal(error) from None
        finally:
            self._request = None
            self.platform.release(plan.owner, plan.session)
        self.enter(Phase.READY)
        self.tell(What.READY)
        if adoption is None:
            self.platform.starts.add(plan, asyncio.get_running_loop().time() - begun)
        return url

    async def _answer(self, plan: SessionPlan, deadline: float) -> str:
        """Wait until the session answers, and give its address; raises where it never will."""
        loop = asyncio.get_running_loop()
        while True:
            evidence = await self.look()
            if evidence.phase in self.expected_phases and evidence.phase is not Phase.READY:
                self.enter(evidence.phase)
            if is_over(evidence):
                raise await self._failure(plan, evidence)
            url = await self.address(plan)
            if url is not None and await answers(f"{url}{self.server.base_url}"):
                return url
            reason = self.hopeless(evidence)
            if reason is None and loop.time() > deadline:
                reason = Reason.START_TIMEOUT
            if reason is not None:
                raise await self._failure(plan, evidence.model_copy(update={"reason": reason}))
            await asyncio.sleep(_LOOK_EVERY)

    async def _failure(self, plan: SessionPlan, evidence: Evidence) -> StartFailed:
        """Keep why a start failed, and give the exception that says so."""
        if is_over(evidence):
            try:
                log = await self.platform.backend.logs(plan.launch, lines=20)
                self.last_words = log
            except SessionError as error:
                # Why it failed is known; only its last words are not.
                log = error.detail or error.sentence
            self.log.warning("The last lines of %s:\n%s", self._log_name, log)
        if evidence.reason is Reason.FINISHED:
            # It should not have finished before it answered.
            evidence = evidence.model_copy(update={"reason": Reason.PROGRAM_FAILED})
        self.evidence = evidence
        words = REASONS[evidence.reason]
        why = explained(words.sentence, evidence.detail)
        return StartFailed(f"{why} {words.advice}", code=evidence.reason)

    @override
    async def get_url(self) -> str:
        """Wait, after a restart of the hub, for a session that was still starting.

        JupyterHub calls this in its restart check only, and would stop a session that does not
        answer in time: here only one is given up that is proven dead, or that never ran and
        never will.
        """
        url: str | None = None
        while self.managed and self.plan is not None:
            url = await self.address(self.plan) or url
            if url is not None and await answers(f"{url}{self.server.base_url}"):
                self.enter(Phase.READY)
                break
            evidence = await self.look()
            if is_over(evidence) or self.hopeless(evidence) is not None:
                break
            await asyncio.sleep(1)
        if self.managed:
            self._keep(route_when_checked(self))
        if url is None:
            return str(self.server.url)
        return f"{url}{self.server.base_url}"

    def enter(self, phase: Phase) -> None:
        """Note that the start has come to a phase."""
        if phase not in self.phases:
            self.phases[phase] = f"{self.platform.clock():%Y-%m-%dT%H:%M:%SZ}"
            self.tell(What.PHASE, phase=phase)

    async def look(self) -> Evidence:
        """Ask the back end; unknown, never an exception, where it does not answer."""
        if self.plan is None:
            return Evidence(life=Life.ABSENT, reason=Reason.NEVER_STARTED)
        try:
            found = await self.platform.backend.look(self.plan)
        except Exception as error:  # noqa: BLE001 - whatever happened, it is no proof of an end
            self.log.warning("%s could not be looked at: %r", self._log_name, error)
            found = Evidence(life=Life.UNKNOWN)
        if found.life is Life.UNKNOWN and found.seen is None:
            found = found.model_copy(update={"seen": self.evidence.seen})
        self.evidence = found
        return found

    @override
    @with_catalogue
    async def poll(self) -> int | None:
        """Say whether the session has ended, with its exit code; None means it has not.

        A back end that does not answer is no proof of an end.
        """
        evidence = await self.look()
        if not is_over(evidence):
            return None
        return evidence.exit_code or 0

    @override
    @with_catalogue
    async def stop(self, now: bool = False) -> None:
        """End the session with everything it started."""
        if self.plan is not None and not self._left_alone:
            known = is_over(self.evidence) or self.failure is not None
            self._asked_to_end = True
            self.stopped_alive = not known
            await stop_when_possible(self, self.plan)
            if not known:
                # Why it ended may not be told again once nothing of it is left.
                await self.look()

    @override
    @with_catalogue
    async def run_post_stop_hook(self) -> None:
        """Write down why the session ended and see that nothing of it stays behind."""
        if self.plan is not None and not self._left_alone:
            self.tell(What.ENDED)
            self.platform.ended.add(self.plan.launch)
            self.platform.release(self.plan.owner, self.plan.session)
            if not self._asked_to_end and is_over(self.evidence):
                name = self.platform.news.name(self.plan)
                self.platform.recent.add(self.plan.model_copy(update={"name": name}), self.evidence)
                await self._clear(self.plan)
        forget_token(self.orm_spawner, self._token_id)
        hook = super().run_post_stop_hook()
        if hook is not None:
            await hook
        if self.name:
            failed = REASONS[self.evidence.reason].failed or Phase.READY not in self.phases
            shown = failed and self.phases and not self._left_alone
            self._later(KEEP_FAILED if shown else KEEP_ENDED)

    async def _clear(self, plan: SessionPlan) -> None:
        """Remove what is left of a session that ended by itself: JupyterHub stops it no more."""
        try:
            await self.platform.backend.stop(plan.launch)
        except SessionError as error:
            self.log.warning("Something of %s stays for now: %s", plan.launch, error.detail)

    def _later(self, seconds: float) -> None:
        self._keep(remove_row(self, after=seconds, log=self.log))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def tell(self, what: What, *, phase: Phase | None = None, by: str = "hub") -> None:
        """Put an event into the outbox."""
        if self.plan is not None:
            self.platform.outbox.append(event_of(self, self.plan, what, phase=phase, by=by))

    # What pages show.

    def view(self) -> SessionView | None:
        """Give the session as pages and API show it; None before it is planned."""
        if self.plan is None:
            return None
        url = f"{self.user.base_url}{self.name}/" if self.name else self.user.base_url
        plan = self.plan.model_copy(update={"ends": self.platform.news.ends(self.plan)})
        return session_view(plan, self.evidence, answers=bool(self.ready), url=url)

    def _position(self, phase: Phase) -> int:
        phases = self.expected_phases
        return 100 * phases.index(phase) // len(phases) if phase in phases else 0

    @override
    @with_catalogue
    async def progress(self) -> AsyncIterator[dict[str, object]]:
        """Tell the phases of the start as they come."""
        told: set[Phase] = set()
        detail = ""
        while True:
            for phase in [phase for phase in self.phases if phase not in told]:
                told.add(phase)
                yield {
                    "progress": min(95, self._position(phase)),
                    "message": PHASE_SENTENCES[phase],
                    "phase": phase.value,
                    "at": self.phases[phase],
                }
            if self.evidence.detail != detail:
                detail = self.evidence.detail
                yield {"message": detail, "reason": detail}
            await asyncio.sleep(_TELL_EVERY)
