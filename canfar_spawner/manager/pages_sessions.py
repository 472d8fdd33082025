"""Pages about sessions: the list of all, stopping one, extending one, a job's log, scripts."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from typing_extensions import override

from canfar_spawner.core.authority import Action, authority
from canfar_spawner.core.client_setup import CONFIG_PATH
from canfar_spawner.core.errors import NotYours, SessionError
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.status import Evidence, Life, Reason
from canfar_spawner.manager.app import Answer
from canfar_spawner.manager.pages_frame import Frame, Page
from canfar_spawner.manager.pages_views import (
    Listing,
    LogsView,
    ScriptsView,
    SessionRow,
    SharedRow,
    StopView,
    listing,
    session_row,
)
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.storage import lost_words
from canfar_spawner.portal.client import client_view
from canfar_spawner.portal.language import say, say_many
from canfar_spawner.portal.words import iso, long_duration

ID: Final = r"([a-z][a-z0-9]{7})"
_LOG_LINES: Final = 2000
_NOT_KNOWN: Final = (
    "There is no session or batch job with this address among yours. Those that have ended are"
    " gone from here after a day."
)


class NoSuchPage(NotYours):
    """A session that is not hers, or none at all: which of the two is not told."""

    code = "no_such_session"
    status = 404


class SessionPage(Page):
    """A page about the sessions of whoever is signed in."""

    def mine(self, session: str, action: Action) -> SessionRecord:
        """Give a session on which she may do something; raises NoSuchPage."""
        record = self.manager.registry.get(session)
        if record is None or not self._may(record, action):
            raise NoSuchPage(_NOT_KNOWN)
        return record

    def _may(self, record: SessionRecord, action: Action) -> bool:
        held = authority(self.caller.scopes, owner=record.owner, session=record.id)
        return held.permits(action)

    def row(self, record: SessionRecord) -> SessionRow:
        """Put a session into words."""
        ended = Evidence(life=Life.ENDED)
        evidence = self.manager.registry.evidence_of(record) if record.live else ended
        return session_row(record, evidence, self.manager.clock())

    def listing(self, said: str = "") -> Listing:
        """Give everything of hers."""
        owner = self.caller.name
        held = authority(self.caller.scopes, owner=owner, session=None)
        found = self.manager.registry.of(owner, ended=True) if held.permits(Action.LIST) else ()
        shared = (
            SharedRow(
                id=record.id,
                owner=record.owner,
                name=record.name,
                container=record.plan.title,
                until=iso(until),
                url=record.url,
            )
            for record, until in self.manager.sharing.shared_with(owner)
        )
        rows = (self.row(record) for record in found)
        return listing(owner, rows, shared=shared, said=said)


class Sessions(SessionPage):
    """All sessions and batch jobs, at the root of the service."""

    @override
    async def prepare(self) -> None:
        """Let everybody ask whether it is there."""
        if self.request.method == "HEAD":
            # Clients of the API ask so whether anything is here.
            await Answer.prepare(self)
            return
        await super().prepare()

    @override
    async def head(self) -> None:
        """Say that there is something here."""
        self.finish()

    @override
    async def get(self) -> None:
        """Show them."""
        self.show("sessions.html", self.listing(**self.said()))


class Extend(SessionPage):
    """Gives a session more time."""

    @override
    async def get(self, session: str) -> None:
        """Lead back whoever reloads: nothing is done by a link."""
        self.mine(session, Action.SEE)
        self.redirect(self.frame.settings.prefix)

    @override
    async def post(self, session: str) -> None:
        """Extend it, and say until when it lasts."""
        record = self.mine(session, Action.EXTEND)
        renewal = await self.manager.lifetimes.renew(record, by=self.caller.name)
        self.lead_on("", said=renewal.sentence)


class Stop(SessionPage):
    """Asks once, then ends a session; works without JavaScript."""

    async def _show(self, record: SessionRecord, error: str = "", status: int = 200) -> None:
        scratch = await self.manager.storage.scratch(record) if record.interactive else None
        lost = lost_words(scratch)
        view = StopView(self.row(record), f"{lost} {say('Home and projects stay.')}", error)
        self.show("stop.html", view, status)

    @override
    async def get(self, session: str) -> None:
        """Say what stopping it means."""
        await self._show(self.mine(session, Action.STOP))

    @override
    async def post(self, session: str) -> None:
        """Stop it."""
        record = self.mine(session, Action.STOP)
        try:
            await self.manager.lifetimes.end(record, reason=Reason.STOPPED, by=self.caller.name)
        except SessionError as error:
            self.manager.log.warning("%s: %s", error.code, error.detail or error.sentence)
            current = self.manager.registry.get(session) or record
            if current.ending is None:
                await self._show(
                    current,
                    say("It was not stopped. %(cause)s", cause=error.sentence),
                    error.status,
                )
                return
        # It is on its way, or will be as soon as the hub answers.
        self.redirect(f"{self.frame.settings.prefix}stop/{session}", status=303)


class Logs(SessionPage):
    """What a batch job wrote."""

    @override
    async def get(self, session: str) -> None:
        """Show the last of it."""
        record = self.mine(session, Action.SEE)
        text = await self.manager.jobs.log(record)
        lines = text.splitlines()
        shown = "\n".join(lines[-_LOG_LINES:])
        title = say("Log")
        if len(lines) > _LOG_LINES:
            title = say("The last %(shown)s of %(count)s lines", shown=_LOG_LINES, count=len(lines))
        self.show("logs.html", LogsView(self.row(record), title, shown))


def batch_rules(policy: SitePolicy, groups: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Say what a batch job may count on at a site."""
    lifetime = long_duration(policy.lifetimes.of(SessionKind.HEADLESS))
    most = policy.limits.batch_for(groups)
    return (
        say("A job may run for %(time)s; canfar renew gives it more.", time=lifetime),
        say_many(
            "You may have %(num)s job waiting or running at the same time.",
            "You may have %(num)s jobs waiting or running at the same time.",
            most,
        ),
        say("Its log can be read after its end, and its status says how it ended."),
    )


class Scripts(SessionPage):
    """How scripts use this hub."""

    @override
    async def get(self) -> None:
        """Show the texts."""
        settings, policy = self.frame.settings, self.manager.policy()
        host = urlsplit(settings.public).hostname or ""
        view = ScriptsView(
            client=client_view(policy, settings.public),
            config_path=CONFIG_PATH,
            rules=batch_rules(policy, self.groups()),
            local=host == "127.0.0.1" or host.endswith("localhost"),
            local_name=host if host.endswith(".localhost") else "",
        )
        self.show("scripts.html", view)

    def groups(self) -> frozenset[str]:
        """Give her groups, none where nobody knows them now."""
        try:
            return self.manager.identities.identity(self.caller.name).group_names
        except SessionError:
            return frozenset()


def session_routes(frame: Frame) -> list[Any]:
    """Give the addresses of these pages."""
    given = {"frame": frame}
    return [
        ("", Sessions, given),
        ("scripts", Scripts, given),
        (f"extend/{ID}", Extend, given),
        (f"stop/{ID}", Stop, given),
        (f"logs/{ID}", Logs, given),
    ]
