"""Sessions over the wire: list, create, look, extend, rename, end."""

from __future__ import annotations

from typing import Any, Final

from typing_extensions import override

from canfar_spawner.core.authority import Action
from canfar_spawner.core.backend import BackendEvent
from canfar_spawner.core.errors import Invalid, RequestRefused, SessionError, shown
from canfar_spawner.core.request import SessionRequest, parse_request
from canfar_spawner.core.status import Evidence, Life, Phase, Reason, is_over
from canfar_spawner.manager import wire
from canfar_spawner.manager.creating import (
    options_from_json,
    options_from_words,
    what_was_asked,
    with_registry,
)
from canfar_spawner.manager.lifetimes import not_active
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.rows import Row
from canfar_spawner.manager.v1 import V1, NotFound, stats, visible_to

VIEWS: Final = ("all", "interactive", "stats")
ONE_VIEWS: Final = ("logs", "events")
ACTIONS: Final = ("renew",)
FOR_VISITORS: Final = (
    *("id", "userid", "owner", "name", "type", "kind", "title", "container", "version"),
    *("status", "state", "expiryTime", "ends", "connectURL", "url"),
)
"""What somebody may see who is let in: whose it is, and until when."""
MOST_LINES: Final = 100_000
"""Lines of a log that may be asked for by their number."""
_ASKED: Final = Evidence(life=Life.STARTING, phase=Phase.ASKED)


def last_lines(text: str, most: int | None) -> str:
    """Give the last lines of a text, or all of it."""
    if most is None:
        return text
    return "".join(text.splitlines(keepends=True)[-most:])


class Shown(V1):
    """What shows sessions."""

    def evidence(self, record: SessionRecord) -> Evidence:
        """Give the last look at a session."""
        if self.manager.registry.get(record.id) is None:
            return _ASKED
        return self.manager.registry.evidence_of(record)

    def said(self, record: SessionRecord, warning: str = "") -> dict[str, Any]:
        """Give what is said of a session beside its record and its evidence."""
        sharing = self.manager.sharing
        shares = len(sharing.shares(record.id)) if record.live else 0
        return {
            "use": self.manager.registry.uses.get(record.launch),
            "shares": shares,
            "guests": tuple(one.name for one in sharing.entrants(record.id)) if shares else (),
            "warning": warning,
        }

    def row(self, record: SessionRecord) -> dict[str, Any]:
        """Write a session as its owner sees it."""
        notices = self.manager.lifetimes.notices(record.owner)
        warning = next((each.sentence for each in notices if each.session == record.id), "")
        return wire.session_json(record, self.evidence(record), **self.said(record, warning))


class Sessions(Shown):
    """All sessions of whoever asks, and the way to new ones."""

    @override
    async def get(self) -> None:
        """List them, as the view wants it."""
        view = wire.check_filter("view", self.word("view"), VIEWS)
        if view == "stats":
            self.tell_json(await stats(self))
            return
        kind = wire.check_filter("type", self.word("type"), wire.TYPES)
        status = wire.check_filter("status", self.word("status"), wire.STATUSES)
        self.demand(Action.LIST)
        manager, owner = self.manager, self.caller.name
        if view == "all":
            rows = [self._row(record) for record in manager.registry.live()]
            self.tell_json(
                [
                    wire.usage_row(row.words, owner=owner)
                    for row in rows
                    if wire.matches(row.words, kind=kind, status=status)
                ]
            )
            return
        warnings = {each.session: each.sentence for each in manager.lifetimes.notices(owner)}
        records = (*manager.creates.untold(owner), *manager.registry.of(owner, ended=True))
        rows = [
            self._row(record, warnings.get(record.id, ""))
            for record in records
            if not record.put_away and (record.interactive or view != "interactive")
        ]
        texts = [row.text for row in rows if wire.matches(row.words, kind=kind, status=status)]
        self.set_header("Content-Type", "application/json")
        self.finish(f"[{','.join(texts)}]")

    def _row(self, record: SessionRecord, warning: str = "") -> Row:
        said = self.said(record, warning)
        return self.manager.rows.of(record, self.evidence(record), **said)

    @override
    async def post(self) -> None:
        """Create one and give its id at once."""
        options: dict[str, Any] = {}
        try:
            options = self._options()
            session = await self.manager.creates.create(
                self.caller, options, key=self.request.headers.get("Idempotency-Key", "").strip()
            )
        except RequestRefused as error:
            name, what = what_was_asked(options or self._words())
            await self.manager.refusals.add(self.caller.name, name=name, what=what, error=error)
            raise
        self.tell(f"{session}\n")

    def _options(self) -> dict[str, Any]:
        media = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media == "application/json" and self.request.body:
            if self.request.query_arguments:
                raise Invalid(
                    "Give everything in the JSON body, or everything in the query string."
                )
            options = options_from_json(self.json_body())
        else:
            if self.request.body and not self.request.body_arguments:
                raise Invalid(
                    "The body must be a form (application/x-www-form-urlencoded or"
                    " multipart/form-data) or a JSON object (application/json)."
                )
            options = options_from_words(self.request.query_arguments, self.request.body_arguments)
        header = self.request.headers.get("X-Skaha-Registry-Auth")
        return with_registry(options, header, self.manager.policy())

    def _words(self) -> dict[str, str]:
        """Give what a request was for that could not be read as a whole."""
        found = {}
        for name in ("name", "image", "container"):
            values = self.request.arguments.get(name, [])
            if values:
                found[name] = values[0].decode("utf-8", "replace")
        return found

    @override
    def delete(self) -> None:
        """Refuse: nobody means all of them."""
        raise Invalid("Name the session to end: DELETE v1/session/ID.")


class Session(Shown):
    """One session."""

    @override
    async def get(self, session: str) -> None:
        """Show it, its log or what happened to it."""
        view = wire.check_filter("view", self.word("view"), ONE_VIEWS)
        if not view:
            record = self.record(session, Action.SEE)
            row = {**self.row(record), "enforced": self.manager.backend.enforces_sizes}
            if not visible_to(self.caller, record):
                row = {key: value for key, value in row.items() if key in FOR_VISITORS}
                row |= self._visit(record)
            self.tell_json(row)
            return
        record = self.record(session, Action.EXTEND)
        if view == "logs":
            self.tell(last_lines(await self.manager.jobs.log(record), self._tail()))
            return
        self.tell(wire.events_table(await self._events(record)))

    def _visit(self, record: SessionRecord) -> dict[str, Any]:
        """Tell a visitor until when she may enter, and what she may see; administrators need no share."""
        let_in = {one.name: one for one in self.manager.sharing.entrants(record.id)}
        mine = let_in.get(self.caller.name)
        if mine is None:
            return {}
        return {"visitUntil": wire.moment(mine.until), "visitStorage": mine.storage}

    def _tail(self) -> int | None:
        text = self.word("tail")
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= MOST_LINES):
            raise Invalid(f"tail must be a whole number from 1 to {MOST_LINES}.", field="tail")
        return int(text)

    async def _events(self, record: SessionRecord) -> tuple[BackendEvent, ...]:
        shown_as = wire.evidence_of(record, self.evidence(record))
        own = wire.own_events(record, shown_as)
        if not record.live:
            return own
        try:
            return (*own, *await self.manager.backend.events(record.launch))
        except SessionError as error:
            self.manager.log.info("No events of %s: %s", record.launch, error.detail)
            return own

    @override
    async def post(self, session: str) -> None:
        """Extend it."""
        actions = [value for value in self.request.arguments.get("action", []) if value]
        if actions != [b"renew"]:
            given = actions[0].decode("utf-8", "replace") if actions else ""
            raise Invalid(
                f"action must be renew; you gave {shown(given)}."
                if given
                else "Say what to do: action=renew.",
                field="action",
                allowed=ACTIONS,
            )
        try:
            record = self.record(session, Action.EXTEND)
        except NotFound:
            raise not_active(self.caller.name, session) from None
        await self.manager.lifetimes.renew(record, by=self.caller.name)
        self.tell("")

    @override
    async def patch(self, session: str) -> None:
        """Rename it."""
        record = self.record(session, Action.EXTEND)
        body = self.json_object(("name",))
        # The rules for names are those of every request.
        asked: SessionRequest = parse_request({"container": "any", "name": body.get("name")})
        if asked.name is None:
            raise Invalid("Give the new name.", field="name")
        if not record.live or self.manager.registry.get(record.id) is None:
            raise not_active(record.owner, record.id)
        renamed = await self.manager.registry.change(record.id, name=asked.name)
        await self.manager.news.renamed(renamed)
        self.tell_json(self.row(renamed))

    @override
    async def delete(self, session: str) -> None:
        """End it; one that is not there, or not hers, has ended as far as she is concerned."""
        try:
            record = self.record(session, Action.STOP)
        except NotFound:
            self.tell("")
            return
        if self.manager.registry.get(record.id) is None:
            # The hub has been asked for it, and has not told of it yet.
            await self.manager.hub.stop(record.owner, record.id)
            self.manager.creates.forget(record.id)
        elif not record.live or (not record.interactive and is_over(self.evidence(record))):
            # `canfar prune` clears a list of what is over; nobody told it to end.
            await self.manager.registry.change(record.id, put_away=True)
        else:
            await self.manager.lifetimes.end(record, reason=Reason.STOPPED, by=self.caller.name)
        self.tell("")


class Apps(V1):
    """Programs of a desktop: here they are started in the desktop itself."""

    @override
    def get(self, session: str) -> None:
        """List none."""
        self.record(session, Action.EXTEND)
        self.tell_json([])

    @override
    def post(self, session: str) -> None:
        """Refuse, and say how it is done."""
        self.record(session, Action.EXTEND)
        raise Invalid("Programs of a desktop are started from the desktop's own menu.")


class App(V1):
    """One program of a desktop, of which there are none."""

    @override
    def get(self, session: str, app: str) -> None:
        """Find nothing."""
        self.record(session, Action.EXTEND)
        raise NotFound(app)

    @override
    def delete(self, session: str, _app: str) -> None:
        """End nothing."""
        self.record(session, Action.EXTEND)
        self.tell("")
