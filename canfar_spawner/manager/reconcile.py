"""Making records, back end and hub agree again, whatever was lost.

Evidence of the back end counts before events, events before the rows of the hub, and unknown is
never dead. What differs is worked out as plain data first, which ``canfar-hub reconcile --check``
prints; what is done about it follows from that alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest

from canfar_spawner.core.backend import Backend, Recovered
from canfar_spawner.core.errors import Invalid, SessionError, Unavailable
from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.names import LaunchId, SessionId
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Evidence, Life, Reason, is_over
from canfar_spawner.core.storage import Area
from canfar_spawner.manager.hubapi import HubClient, HubServer
from canfar_spawner.manager.identities import HubIdentities
from canfar_spawner.manager.idle import Ender
from canfar_spawner.manager.observer import Observer
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.registry import Registry

EVERY: Final = 30.0
_ROUNDS: Final = 2
"""How often in a row something irreversible has to be found."""
_SETTLED: Final = timedelta(seconds=20)
"""Younger sessions are still being told of."""
_ANSWER_WITHIN: Final = 30.0


class Differs(StrEnum):
    """The ways in which records, back end and hub can disagree."""

    UNRECORDED = "unrecorded"
    """It runs, or has just ended, and there is no record of it."""
    GONE = "gone"
    """There is a record, and neither a row of the hub nor anything at the back end."""
    PROMISE = "promise"
    """Record and back end promise different ends."""
    UNOWNED = "unowned"
    """It runs, and the hub has no row of it."""
    LEFTOVER = "leftover"
    """It runs, and its record has ended, or it was to end and the hub does not know it."""
    REVOKED = "revoked"
    """A job runs with what its owner may not use any more."""


_DEEDS: Final[dict[Differs, str]] = {
    Differs.UNRECORDED: "is taken up",
    Differs.GONE: "is written down as ended",
    Differs.PROMISE: "is promised the later end",
    Differs.UNOWNED: "goes on; it is its owner's again when she next signs in",
    Differs.LEFTOVER: "is removed",
    Differs.REVOKED: "is ended",
}


class Difference(Frozen):
    """One thing that does not agree."""

    what: Differs
    session: SessionId
    launch: LaunchId
    owner: str
    sentence: str
    """What is found."""

    @property
    def line(self) -> str:
        """Write it as a line for an operator."""
        return f"{self.what}: {self.launch} of {self.owner}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Sights:
    """Everything that is compared, as it was at one moment."""

    now: datetime
    records: tuple[SessionRecord, ...]
    """Live ones, and those that ended within a day."""
    recovered: Mapping[LaunchId, Recovered]
    """What the back end remembers."""
    evidence: Mapping[LaunchId, Evidence]
    servers: frozenset[SessionId] | None
    """The sessions that the hub has rows of; None where it does not answer."""
    absent: frozenset[LaunchId]
    """Launches of which it is proven that nothing is left."""
    refusals: Mapping[str, str]
    """Owners that may run nothing any more, and why."""
    identities: Mapping[str, PosixIdentity]
    """Owners' identities as the hub stands by them now."""


def _alive(evidence: Evidence | None) -> bool:
    return evidence is not None and evidence.life in (Life.STARTING, Life.RUNNING, Life.ENDING)


def _over(sights: Sights, launch: LaunchId) -> bool:
    evidence = sights.evidence.get(launch)
    if evidence is not None and evidence.life is Life.ENDED:
        return True
    return launch in sights.absent


def lost_right(plan: SessionPlan, identity: PosixIdentity) -> str:
    """Say what of a plan its owner may not use any more, empty where all is well."""
    if plan.identity.uid != identity.uid:
        return f"its owner has another uid now: {identity.uid}"
    projects = {mount.name for mount in plan.storage.find(Area.PROJECT)}
    lost = sorted(projects - set(identity.projects))
    if lost:
        return f"its owner has left the project {lost[0]}"
    groups = {plan.identity.group.gid, *plan.identity.gids}
    gone = sorted(groups - {identity.group.gid, *identity.gids})
    return f"its owner is no longer in the group with the gid {gone[0]}" if gone else ""


def _difference(what: Differs, plan: SessionPlan, sentence: str) -> Difference:
    return Difference(
        what=what, session=plan.session, launch=plan.launch, owner=plan.owner, sentence=sentence
    )


def differences(sights: Sights) -> tuple[Difference, ...]:
    """Compare records, back end and hub."""
    recorded = {record.launch for record in sights.records}
    found: list[Difference] = []
    for launch, recovered in sights.recovered.items():
        evidence = sights.evidence.get(launch)
        ended_job = (
            evidence is not None
            and evidence.life is Life.ENDED
            and not KINDS[recovered.plan.kind].interactive
        )
        if launch not in recorded and (_alive(evidence) or ended_job):
            found.append(
                _difference(Differs.UNRECORDED, recovered.plan, "there is no record of it")
            )
    for record in sights.records:
        if not record.live:
            found += _of_ended(record, sights)
            continue
        found += _of_promise(record, sights)
        found += _of_session(record, sights) if record.interactive else _of_job(record, sights)
    return tuple(found)


def _of_ended(record: SessionRecord, sights: Sights) -> Iterator[Difference]:
    settled = record.ended is not None and sights.now - record.ended > _SETTLED
    if settled and _alive(sights.evidence.get(record.launch)):
        yield _difference(Differs.LEFTOVER, record.plan, "its record has ended, and it runs")


def _of_promise(record: SessionRecord, sights: Sights) -> Iterator[Difference]:
    kept = sights.recovered.get(record.launch)
    if kept is not None and kept.ends != record.ends and not _over(sights, record.launch):
        yield _difference(
            Differs.PROMISE,
            record.plan,
            f"it ends at {record.ends:%Y-%m-%d %H:%M:%S} by its record, at"
            f" {kept.ends:%Y-%m-%d %H:%M:%S} by the back end",
        )


def _of_session(record: SessionRecord, sights: Sights) -> Iterator[Difference]:
    if sights.servers is None or record.id in sights.servers:
        return
    if sights.now - record.asked < _SETTLED:
        return
    if _over(sights, record.launch):
        yield _difference(Differs.GONE, record.plan, "neither hub nor back end has it")
    elif _alive(sights.evidence.get(record.launch)):
        if record.ending is None:
            yield _difference(Differs.UNOWNED, record.plan, "it runs, and the hub has lost its row")
        else:
            # The hub cannot end what it does not know.
            yield _difference(Differs.LEFTOVER, record.plan, "it was to end, and runs")


def _of_job(record: SessionRecord, sights: Sights) -> Iterator[Difference]:
    if record.ending is not None:
        return
    identity = sights.identities.get(record.owner)
    lost = lost_right(record.plan, identity) if identity is not None else ""
    why = sights.refusals.get(record.owner, "") or lost
    if why:
        yield _difference(Differs.REVOKED, record.plan, why)


def lines(found: Iterable[Difference]) -> tuple[str, ...]:
    """Write differences for an operator, with what the manager does about each."""
    shown = [f"{each.line}; it {_DEEDS[each.what]}" for each in found]
    return tuple(shown) or ("Records, back end and hub agree.",)


class Reconciler:
    """Looks for differences and does away with them.

    Parameters
    ----------
    registry : Registry
    backend : Backend
    hub : HubClient
    identities : HubIdentities
    observer : Observer
    ender : Ender
    clock : callable
    log : logging.Logger
    """

    def __init__(
        self,
        *,
        registry: Registry,
        backend: Backend,
        hub: HubClient,
        identities: HubIdentities,
        observer: Observer,
        ender: Ender,
        clock: Callable[[], datetime],
        log: logging.Logger,
    ) -> None:
        self._registry = registry
        self._backend = backend
        self._hub = hub
        self._identities = identities
        self._observer = observer
        self._ender = ender
        self._clock = clock
        self._log = log
        self._rounds: dict[tuple[Differs, LaunchId], int] = {}
        self._known: set[LaunchId] = set()
        """Launches whose records ended longer ago than the registry remembers."""
        self._observed: Mapping[LaunchId, Evidence] = {}
        self._problem = ""
        self.compared: list[Callable[[tuple[Difference, ...]], None]] = []
        """Told of what differed in each round."""

    async def look(self) -> tuple[Difference, ...]:
        """Compare everything now, changing nothing.

        Raises
        ------
        Unavailable
            The back end does not answer.
        """
        return (await self._compare())[0]

    async def _compare(
        self,
    ) -> tuple[tuple[Difference, ...], Mapping[LaunchId, Recovered], Mapping[SessionId, HubServer]]:
        recovered = await self._backend.plans()
        observed = self._observed = await self._backend.observe()
        rows = await self._servers()
        records = self._records({*recovered, *observed})
        owners = {record.owner for record in records if record.live and not record.interactive}
        current = {name: self._identities.current(name) for name in owners}
        sights = Sights(
            now=self._clock(),
            records=records,
            recovered={
                launch: each for launch, each in recovered.items() if launch not in self._known
            },
            evidence=observed,
            servers=None if rows is None else frozenset(rows),
            absent=frozenset(
                record.launch
                for record in records
                if record.live and self._observer.proven_absent(record.launch)
            ),
            refusals={name: self._identities.revoked(name) for name in owners},
            identities={name: known for name, known in current.items() if known is not None},
        )
        return differences(sights), recovered, rows or {}

    def _records(self, launches: Iterable[LaunchId]) -> tuple[SessionRecord, ...]:
        """Give all live records, and those of whatever has left a trace."""
        found = {record.launch: record for record in self._registry.live()}
        for launch in launches:
            record = self._registry.by_launch(launch)
            if record is not None:
                found[launch] = record
        return tuple(found.values())

    async def _servers(self) -> Mapping[SessionId, HubServer] | None:
        try:
            return {row.session: row for row in await self._hub.servers()}
        except SessionError as error:
            self._log.info("The hub does not tell its sessions now: %s", error.detail or error)
            return None

    async def round(self) -> tuple[Difference, ...]:
        """Compare everything and do what follows."""
        found, recovered, rows = await self._compare()
        for told in self.compared:
            told(found)
        await self._rows_without_record(rows, recovered)
        seen = {(each.what, each.launch) for each in found}
        self._rounds = {key: self._rounds.get(key, 0) + 1 for key in seen}
        for each in found:
            try:
                await self._mend(each, recovered.get(each.launch), rows.get(each.session))
            except Exception as error:  # noqa: BLE001 - the others are still to be seen to
                self._log.warning("%s stays for now: %r", each.line, error)
        owners = {record.owner for record in self._registry.live()}
        await self._identities.forget(self._identities.gone() - owners)
        return found

    async def _rows_without_record(
        self, rows: Mapping[SessionId, HubServer], recovered: Mapping[LaunchId, Recovered]
    ) -> None:
        """Take up what the hub has started and has not told of, or not in words of today."""
        for session, row in rows.items():
            plan = row.plan
            if plan is None or plan.launch in self._known:
                continue
            record = self._registry.by_launch(plan.launch)
            if record is None:
                # What was extended must not end for a moment at the time it had at first.
                kept = recovered.get(plan.launch)
                await self._take_up(plan, kept.ends if kept is not None else plan.ends, row)
            elif record.live and row.ready and record.ready is None:
                await self._registry.change(session, ready=self._clock())

    async def _take_up(self, plan: SessionPlan, ends: datetime, row: HubServer | None) -> None:
        now = self._clock()
        record = SessionRecord(
            plan=plan,
            name=plan.name,
            asked=plan.started,
            ends=ends,
            url=row.url if row is not None else "",
            begun=True,
            ready=now if row is not None and row.ready else None,
        )
        if plan.launch in self._observed:
            # Whoever asks before the next look finds it as it is.
            self._registry.evidence.setdefault(plan.launch, self._observed[plan.launch])
        if await self._registry.add(record):
            self._log.warning("%s of %s had no record: taken up", plan.launch, plan.owner)
        elif self._registry.by_launch(plan.launch) is None:
            # Its record ended too long ago to be remembered by more than the history.
            self._known.add(plan.launch)

    async def _mend(
        self, difference: Difference, recovered: Recovered | None, row: HubServer | None
    ) -> None:
        record = self._registry.by_launch(difference.launch)
        again = self._rounds[difference.what, difference.launch] >= _ROUNDS
        match difference.what:
            case Differs.UNRECORDED if recovered is not None and record is None:
                await self._take_up(recovered.plan, recovered.ends, row)
            case Differs.PROMISE if recovered is not None and record is not None:
                await self._promise(record, recovered)
            case Differs.GONE if record is not None and again:
                await self._write_end(record)
            case Differs.LEFTOVER if again:
                await self._remove(difference, record)
            case Differs.REVOKED if record is not None and again:
                self._log.warning("%s is ended: %s", difference.launch, difference.sentence)
                await self._registry.change(record.id, detail=difference.sentence)
                await self._ender.end(record, reason=Reason.REVOKED, by="reconcile")
            case _:
                self._log.debug("%s", difference.line)

    async def _promise(self, record: SessionRecord, recovered: Recovered) -> None:
        """Keep the later of two promises: neither side may end a session before the other."""
        if recovered.ends > record.ends:
            self._log.warning("%s ends at %s, says the back end", record.launch, recovered.ends)
            await self._registry.change(record.id, ends=recovered.ends, warned=0)
        else:
            await self._backend.extend(record.plan, record.ends)

    async def _write_end(self, record: SessionRecord) -> None:
        evidence = self._registry.evidence_of(record)
        reason = evidence.reason if is_over(evidence) else Reason.NONE
        self._log.warning("%s has ended, and nobody told: %s", record.launch, reason.value)
        await self._registry.end(
            record.id,
            reason=record.ending or reason or Reason.STOPPED,
            at=evidence.at or self._clock(),
            detail=evidence.detail,
            exit_code=evidence.exit_code,
        )

    async def _remove(self, difference: Difference, record: SessionRecord | None) -> None:
        # A session whose record has ended may be one that the hub has just adopted again.
        if record is not None and (record.live or not record.interactive):
            self._log.warning("%s runs on after its end: removed", difference.launch)
            await self._backend.stop(difference.launch)

    async def run(self) -> None:
        """Go on for as long as the manager runs."""
        while True:
            try:
                await self.round()
                self._problem = ""
            except SessionError as error:
                self._problem = error.sentence
                self._log.info("Nothing can be compared now: %s", error.detail or error.sentence)
            except Exception:  # noqa: BLE001 - one failure must not be the last time
                self._problem = "Records could not be compared with what runs."
                self._log.exception("Records could not be compared with what runs; tried again")
            await asyncio.sleep(EVERY)

    def problems(self) -> list[str]:
        """Say why nothing can be compared, if nothing can."""
        return [self._problem] if self._problem else []


async def check(service: str, token: str) -> tuple[Difference, ...]:
    """Ask a running manager what does not agree; it changes nothing.

    Parameters
    ----------
    service : str
        The manager's address, without a slash at the end.
    token : str
        An administrator's, or the manager's own.

    Raises
    ------
    Unavailable
        It does not answer, or is none.
    Invalid
        The token does not permit it.
    """
    request = HTTPRequest(
        f"{service}/v1/reconcile",
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
        request_timeout=_ANSWER_WITHIN,
        follow_redirects=False,
    )
    try:
        answer = await AsyncHTTPClient().fetch(request, raise_error=False)
    except (HTTPError, OSError) as error:
        # The client raises what is no answer at all, such as one that never came.
        raise Unavailable(
            "The session manager does not answer. Is it running?", detail=str(error)
        ) from None
    if answer.code in (401, 403):
        raise Invalid("Only administrators may see what does not agree; use a token of one.")
    if answer.code != 200:
        raise Unavailable(
            "The session manager cannot compare anything now. Its log says why.",
            detail=f"it answers {answer.code}",
        )
    try:
        found = json.loads(answer.body)["differences"]
        return tuple(Difference.model_validate(each) for each in found)
    except (ValueError, LookupError, TypeError):
        raise Unavailable(f"What answers at {service} is not a session manager.") from None


def as_json(found: Iterable[Difference]) -> dict[str, object]:
    """Give the answer of ``GET v1/reconcile``."""
    differing = tuple(found)
    return {
        "differences": [each.model_dump(mode="json") for each in differing],
        "lines": list(lines(differing)),
    }
