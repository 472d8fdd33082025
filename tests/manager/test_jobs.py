"""Batch jobs of the session manager: its registry and database, real supervisors, no hub."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.errors import (
    Conflict,
    Invalid,
    LimitReached,
    NotAllowed,
    StartFailed,
    Unavailable,
)
from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.core.logs import CUT, LONGEST
from canfar_spawner.core.names import LaunchId, new_session_id
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.request import parse_request
from canfar_spawner.core.status import Evidence, Life, Reason, Status, status_of
from canfar_spawner.local.backend import LocalBackend
from canfar_spawner.local.isolation import Isolation, probe
from canfar_spawner.manager.jobs import Jobs
from canfar_spawner.manager.observer import Observer
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.registry import Registry
from canfar_spawner.manager.store import Store
from tests.core.world import ADA, BEN
from tests.local.world import LOOK_EVERY, WITHIN, World
from tests.support.hub import wait_for

LOG = logging.getLogger("tests.jobs")
FOREVER = {"cmd": "sh", "args": ["-c", "echo begun; exec sleep 1000"]}
SECRET = "a secret that only the job may see"


class People:
    """Knows two users."""

    def identity(self, name: str) -> PosixIdentity:
        for person in (ADA, BEN):
            if person.name == name:
                return person
        raise NotAllowed(f"{name} is not known here.")


def now() -> datetime:
    """Give the time in UTC."""
    return datetime.now(UTC)


@dataclass
class Site:
    """A session manager's jobs over a data directory; `again` gives those of the next manager."""

    world: World
    store: Store = field(init=False)
    registry: Registry = field(init=False)
    jobs: Jobs = field(init=False)
    observer: Observer = field(init=False)
    seconds: float = 0.0
    """What the manager's steady clock shows."""
    tending: asyncio.Task[None] | None = None

    async def open(self, backend: LocalBackend | None = None, *, tend: bool = True) -> None:
        """Begin with what database and directories have."""
        data = self.world.data
        self.backend = backend or self.world.new_backend()
        self.store = Store(f"sqlite:///{data / 'sessions.sqlite'}", log=LOG)
        self.registry = Registry(self.store, clock=now, log=LOG)
        self.jobs = Jobs(
            registry=self.registry,
            backend=self.backend,
            identities=People(),
            policy=lambda: self.world.policy,
            logs=data / "logs",
            clock=now,
            monotonic=lambda: self.seconds,
            log=LOG,
        )
        self.observer = Observer(
            registry=self.registry,
            backend=self.backend,
            finished=self.jobs.finished,
            clock=now,
            log=LOG,
        )
        await self.store.open()
        await self.registry.load()
        if tend:
            self.tending = asyncio.ensure_future(self.backend.tend_queue())

    async def close(self) -> None:
        """End without a word, as a manager that is killed does."""
        if self.tending is not None:
            self.tending.cancel()
            await asyncio.gather(self.tending, return_exceptions=True)
        await self.observer.settle()
        await self.store.close()

    async def again(self, backend: LocalBackend | None = None, *, tend: bool = True) -> None:
        """Have another manager take over."""
        await self.close()
        await self.open(backend, tend=tend)

    async def submit(self, container: str = "runs", **options: Any) -> SessionRecord:
        """Submit a job of ada's."""
        request = parse_request({"container": container, "kind": "headless", **options})
        return self.record(await self.jobs.create("ada", request, by="ada"))

    def record(self, session: str) -> SessionRecord:
        """Give the record of a job."""
        found = self.registry.get(session)
        assert found is not None
        return found

    def directory(self, record: SessionRecord) -> Path:
        """Give the directory of a job's launch."""
        return self.world.data / "run" / record.launch

    async def until(self, record: SessionRecord, *, life: Life) -> Evidence:
        """Look, as the manager does all the time, until a job has come so far."""
        deadline = asyncio.get_running_loop().time() + WITHIN
        while True:
            await self.observer.look()
            seen = self.registry.evidence_of(record)
            if seen.life is life:
                return seen
            assert asyncio.get_running_loop().time() < deadline, (seen, self.record(record.id))
            await asyncio.sleep(LOOK_EVERY)

    async def over(self, *records: SessionRecord) -> list[SessionRecord]:
        """Look until jobs are put away, and give what is known of them then."""
        deadline = asyncio.get_running_loop().time() + 3 * WITHIN
        while any(self.record(each.id).live for each in records):
            await self.observer.look()
            await asyncio.sleep(LOOK_EVERY)
            late = [each.id for each in records if self.record(each.id).live]
            assert asyncio.get_running_loop().time() < deadline, f"not over: {late}"
        await self.observer.settle()
        return [self.record(each.id) for each in records]


@pytest.fixture
def base() -> Iterator[Path]:
    """Give a directory that every user may pass through."""
    path = Path(tempfile.mkdtemp(prefix="canfar-jobs-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def isolation() -> Isolation:
    return probe()


@pytest.fixture
async def site(base: Path, isolation: Isolation) -> AsyncIterator[Site]:
    made = Site(World(base / "data", isolation))
    await made.open()
    yield made
    await made.close()
    await asyncio.to_thread(made.world.clear)


class Slow(LocalBackend):
    """A back end that takes as long to start something as a test wants."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self.go_on = asyncio.Event()
        self.failure: Exception | None = None
        self.starts: list[LaunchId] = []

    async def start(self, plan: SessionPlan, secrets: Secrets, *, port: int = 0) -> None:
        self.starts.append(plan.launch)
        await self.go_on.wait()
        if self.failure is not None:
            raise self.failure
        await super().start(plan, secrets, port=port)


def slow(world: World) -> Slow:
    """Give a slow back end over a data directory."""
    made = world.new_backend()
    groups = {group.name: group.gid for group in ADA.groups}
    return Slow(made.launcher, policy=lambda: world.policy, gids=lambda: groups)


async def test_a_job_from_request_to_kept_log(site: Site) -> None:
    script = 'echo "$MINE" | wc -c; echo done; exit 3'
    record = await site.submit(name="counting", cmd="sh", args=["-c", script], env={"MINE": SECRET})
    assert (record.name, record.owner, record.begun, record.live) == ("counting", "ada", True, True)
    [record] = await site.over(record)
    assert (record.reason, record.exit_code) == (Reason.PROGRAM_FAILED, 3)
    assert record.ready is not None
    assert record.ended is not None
    assert record.asked <= record.ready <= record.ended
    assert record.peak_memory
    assert await site.jobs.log(record) == f"{len(SECRET) + 1}\ndone\n"
    kept = site.world.data / "logs" / f"{record.launch}.log"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert not site.directory(record).exists(), "nothing of it is left where it ran"

    await site.again()
    assert await site.jobs.log(record) == f"{len(SECRET) + 1}\ndone\n"
    site.jobs.forget_log(record.launch)
    site.jobs.forget_log(record.launch)
    assert await site.jobs.log(record) == ""


async def test_secrets_are_nowhere_but_with_the_job(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    record = await site.submit(**FOREVER, env={"MINE": SECRET})
    await site.until(record, life=Life.RUNNING)
    holders = [
        path.name
        for path in site.world.data.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]
    assert holders == ["spec.json"]
    assert SECRET not in caplog.text
    assert record.plan.env_names == ("MINE",)
    await site.jobs.cancel(record, "ada")
    await site.over(record)
    assert not any(
        SECRET.encode() in path.read_bytes()
        for path in site.world.data.rglob("*")
        if path.is_file()
    )


async def test_replicas_all_at_once(site: Site) -> None:
    script = "echo $REPLICA_ID of $REPLICA_COUNT > out-$REPLICA_ID; echo I am $REPLICA_ID"
    records = await asyncio.gather(
        *(
            site.submit(
                name=f"many-{number}",
                cmd="sh",
                args=["-c", script],
                env={"REPLICA_ID": str(number), "REPLICA_COUNT": "16"},
            )
            for number in range(1, 17)
        )
    )
    assert len({record.id for record in records}) == 16
    records = await site.over(*records)
    home = site.world.data / "arc" / "home" / "ada"
    assert sorted(path.read_text() for path in home.glob("out-*")) == sorted(
        f"{number} of 16\n" for number in range(1, 17)
    )
    assert {record.reason for record in records} == {Reason.FINISHED}
    logs = [await site.jobs.log(record) for record in records]
    assert logs == [f"I am {number}\n" for number in range(1, 17)]


async def test_no_more_than_the_limit_whoever_asks_at_once(site: Site) -> None:
    limits = site.world.policy.limits.model_copy(update={"batch": 3})
    site.world.policy = site.world.policy.model_copy(update={"limits": limits})
    found = await asyncio.gather(
        *(site.submit(**FOREVER) for _ in range(10)), return_exceptions=True
    )
    taken = [each for each in found if isinstance(each, SessionRecord)]
    refused = [each for each in found if isinstance(each, LimitReached)]
    assert (len(taken), len(refused)) == (3, 7)
    await site.jobs.cancel(taken[0], "ada")
    await site.over(taken[0])
    assert (await site.submit(**FOREVER)).live, "there is room again"
    with pytest.raises(LimitReached):
        await site.submit(**FOREVER)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"container": "nosuch"}, Invalid),
        ({"kind": "notebook"}, NotAllowed),
        ({"cmd": "true", "cores": 3, "memory": 1, "mode": "fixed"}, Invalid),
        ({"container": "carta", "kind": None}, NotAllowed),
    ],
)
async def test_what_is_refused_leaves_nothing(
    site: Site, options: dict[str, Any], error: type[Exception]
) -> None:
    request = parse_request({"container": "runs", "kind": "headless", **options})
    with pytest.raises(error):
        await site.jobs.create("ada", request, by="ada")
    with pytest.raises(NotAllowed):
        await site.jobs.create("mallory", parse_request({"container": "runs"}), by="mallory")
    assert site.registry.live() == ()
    assert list((site.world.data / "run").iterdir()) == []


async def test_an_id_is_never_used_twice(site: Site) -> None:
    request = parse_request({"container": "finishes", "kind": "headless"})
    session = new_session_id(secrets.choice)
    assert await site.jobs.create("ada", request, by="ada", session=session) == session
    for owner in ("ada", "ben"):
        with pytest.raises(Conflict):
            await site.jobs.create(owner, request, by=owner, session=session)
    [record] = await site.over(site.record(session))
    assert await site.jobs.log(record) == "all done\n"


async def test_a_start_that_fails_at_once_is_told_and_kept(site: Site) -> None:
    with pytest.raises(StartFailed, match="no program frobnicate"):
        await site.submit(cmd="frobnicate")
    [record] = site.registry.of("ada", ended=True)
    assert (record.reason, record.live) == (Reason.PROGRAM_MISSING, False)
    assert "frobnicate" in record.detail
    assert list((site.world.data / "run").iterdir()) == []


async def test_a_start_that_takes_long_goes_on(site: Site) -> None:
    backend = slow(site.world)
    await site.again(backend)
    record = await site.submit("finishes")
    assert (record.live, record.begun) == (True, False), "the answer did not wait for it"
    backend.go_on.set()
    [record] = await site.over(record)
    assert (record.reason, record.begun) == (Reason.FINISHED, True)
    assert backend.starts == [record.launch]


@pytest.mark.parametrize(
    ("failure", "detail"),
    [
        (Unavailable("The disk is full."), "The disk is full."),
        (RuntimeError("a mistake of ours"), "The job could not be started"),
    ],
)
async def test_a_start_that_fails_late_ends_the_job_with_the_reason(
    site: Site, failure: Exception, detail: str
) -> None:
    backend = slow(site.world)
    await site.again(backend)
    record = await site.submit("finishes")
    backend.failure = failure
    backend.go_on.set()
    [record] = await site.over(record)
    assert record.reason is Reason.NEVER_STARTED
    assert detail in record.detail
    assert "a mistake of ours" not in record.detail, "which is for the log"


async def test_a_manager_killed_before_the_start_has_started_nothing(site: Site) -> None:
    backend = slow(site.world)
    await site.again(backend, tend=False)
    record = await site.submit(**FOREVER)
    for task in site.jobs._starting.values():
        task.cancel()
    await site.again()
    assert not site.record(record.id).begun
    await site.jobs.recover()
    found = site.record(record.id)
    assert (found.live, found.reason) == (False, Reason.NEVER_STARTED)
    assert not site.directory(record).exists()


async def test_a_manager_killed_after_the_start_has_started_it_once(site: Site) -> None:
    record = await site.submit(cmd="sh", args=["-c", "echo x >> begun"])
    # What it would have written next is lost.
    await site.registry.change(record.id, begun=False)
    await site.again()
    await site.jobs.recover()
    assert site.record(record.id).begun
    [record] = await site.over(record)
    assert record.reason is Reason.FINISHED
    assert (site.world.data / "arc" / "home" / "ada" / "begun").read_text() == "x\n"


async def test_what_a_killed_manager_left_of_an_ended_job_is_removed(site: Site) -> None:
    record = await site.submit("finishes")
    await site.over(record)
    other = await site.submit("finishes")
    backend = site.backend
    stop, backend.stop = backend.stop, _cannot_stop  # type: ignore[method-assign]
    await site.over(other)
    assert site.directory(other).exists()
    backend.stop = stop  # type: ignore[method-assign]
    await site.again()
    running = asyncio.ensure_future(site.jobs.run())
    gone = await asyncio.to_thread(wait_for, lambda: not site.directory(other).exists(), "removal")
    running.cancel()
    assert gone
    assert await site.jobs.log(other) == "all done\n"


async def _cannot_stop(_launch: LaunchId) -> None:
    raise Unavailable("Not now.")


async def test_a_waiting_job_is_cancelled(site: Site) -> None:
    await site.again(tend=False)
    first, second = await site.submit(**FOREVER), await site.submit(**FOREVER)
    await site.observer.look()
    assert site.registry.evidence_of(second).detail == "place 2 of 2 in the queue"
    await site.jobs.cancel(second, "ben")
    assert site.record(second.id).ending is Reason.STOPPED
    [second] = await site.over(second)
    assert (second.reason, second.ending_by, second.ready) == (Reason.STOPPED, "ben", None)
    assert await site.jobs.log(second) == ""
    await site.observer.look()
    assert site.registry.evidence_of(first).detail == "place 1 of 1 in the queue"
    await site.jobs.cancel(second, "ada")
    assert site.record(second.id).ending_by == "ben", "an end is an end"


async def test_a_running_job_is_cancelled_and_its_log_kept(site: Site) -> None:
    script = "trap 'echo tidied; exit 0' TERM; echo begun; sleep 1000 & wait"
    record = await site.submit(cmd="sh", args=["-c", script])
    await site.until(record, life=Life.RUNNING)
    await site.world.log_says(record.plan, "begun")
    await site.jobs.cancel(record, "lifetimes", reason=Reason.EXPIRED)
    [record] = await site.over(record)
    assert (record.reason, record.ending_by) == (Reason.EXPIRED, "lifetimes")
    assert await site.jobs.log(record) == "begun\ntidied\n", "what it wrote last as well"
    assert not site.directory(record).exists()
    ended = Evidence(life=Life.ENDED, reason=record.reason)
    assert status_of(ended, answers=True) is Status.COMPLETED


async def test_a_log_that_cannot_be_fetched_is_tried_for_a_minute(site: Site) -> None:
    record = await site.submit("finishes")
    wait = (site.directory(record) / "state.json").exists
    await asyncio.to_thread(wait_for, wait, "the job to begin")
    logs, site.backend.logs = site.backend.logs, _no_logs  # type: ignore[method-assign]
    seen = Evidence(life=Life.ENDED, reason=Reason.FINISHED, exit_code=0)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await site.jobs.finished(record, seen)
        assert site.record(record.id).live
        site.seconds += 30
    site.backend.logs = logs  # type: ignore[method-assign]
    [record] = await site.over(record)
    assert await site.jobs.log(record) == "all done\n", "it could be had in time"

    lost = await site.submit("finishes")
    site.backend.logs = _no_logs  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await site.jobs.finished(lost, seen)
    site.seconds += 61
    await site.jobs.finished(lost, seen)
    assert site.record(lost.id).reason is Reason.FINISHED, "the end is told all the same"


async def _no_logs(_launch: LaunchId, *, lines: int | None = None) -> str:
    raise Unavailable("The log cannot be read now.", detail=f"{lines}")


async def test_a_log_too_long_to_keep_says_so(site: Site) -> None:
    record = await site.submit(cmd="sh", args=["-c", "yes 'a line' | head -n 1300000; echo end"])
    [record] = await site.over(record)
    log = await site.jobs.log(record)
    assert log.startswith(CUT)
    assert log.endswith("a line\nend\n")
    assert len(log) <= LONGEST + len(CUT)
    assert log.count(CUT) == 1


async def test_finishing_twice_is_finishing_once(site: Site) -> None:
    record = await site.submit("finishes")
    [ended] = await site.over(record)
    await site.jobs.finished(record, Evidence(life=Life.ENDED, reason=Reason.OUT_OF_MEMORY))
    await site.jobs.stop(record)
    await site.jobs.cancel(record, "eve")
    assert site.record(record.id) == ended
