"""Batch jobs on one machine: real supervisors and programs, the queue, no hub."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from canfar_spawner.core.backend import Offer, Secrets
from canfar_spawner.core.errors import NotAllowed, StartFailed
from canfar_spawner.core.logs import CUT, LONGEST
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Evidence, Life, Phase, Reason
from canfar_spawner.local import state as supervisor
from canfar_spawner.local.isolation import Isolation
from canfar_spawner.local.kept import call_off_waiting
from tests.core.world import ADA, site, site_data
from tests.local.world import LARGE, LOOK_EVERY, WITHIN, World

# Bytes that a shell, a template or a careless parser would change.
HOSTILE = [
    "",
    " two  spaces ",
    "'single' \"double\" `back`",
    "line\nline\r\n\ttab",
    "$(touch /tmp/x) $(VAR) ${HOME} $$",
    "{username} {port} %s %(x)s",
    "a=b==c",
    "--flag",
    "\\n\\0",
    "Ångström ✓ 🜨",
]
_AVAILABLE = Offer(available=True)
FOREVER = {"cmd": "sh", "args": ["-c", "echo begun; exec sleep 1000"]}


def is_queued(seen: Evidence) -> bool:
    """Say whether a job waits for its turn."""
    return (seen.life, seen.phase) == (Life.STARTING, Phase.QUEUED)


def is_running(seen: Evidence) -> bool:
    """Say whether a job runs."""
    return seen.life is Life.RUNNING


async def spans(world: World, plans: list[SessionPlan]) -> list[tuple[float, float, SessionPlan]]:
    """Give from when to when each of some ended jobs ran, as their supervisors wrote it down."""
    found = []
    for plan in plans:
        await world.ended(plan)
        state = supervisor.read_state(world.directory(plan))
        assert state is not None
        assert state.started_at
        assert state.ended_at
        found.append((state.started_at, state.ended_at, plan))
    return found


async def test_a_job_from_order_to_log(world: World) -> None:
    async with world.tended():
        plan = await world.job(
            "runs", cmd="sh", args=["-c", "pwd; env -0 > environ; touch $CANFAR_SCRATCH/x; exit 7"]
        )
        seen = await world.ended(plan)
    assert (seen.reason, seen.exit_code) == (Reason.PROGRAM_FAILED, 7)
    assert seen.started is not None
    assert seen.finished is not None
    assert seen.started <= seen.finished
    assert seen.peak_memory
    sandboxed = world.isolation.kind == "bubblewrap"
    home = world.data / "arc" / "home" / "ada"
    assert await world.backend.logs(plan.launch) == f"{'/arc/home/ada' if sandboxed else home}\n"
    environ = (home / "environ").read_bytes()
    assert b"JUPYTERHUB" not in environ, "it has no business with the hub"
    assert b"CANFAR_SESSION_KIND=headless\0" in environ
    assert not (world.data / "scratch" / plan.launch).exists()
    assert not (world.directory(plan) / "spec.json").exists(), "its variables are secrets"
    await world.backend.stop(plan.launch)
    assert not world.directory(plan).exists(), "the manager has the log by now"
    assert plan.launch not in await world.backend.observe()


async def test_words_and_variables_arrive_byte_for_byte(world: World) -> None:
    env = {f"NAME{number}": text for number, text in enumerate(HOSTILE)}
    env |= {"REPLICA_ID": "3", "REPLICA_COUNT": "64"}
    async with world.tended():
        words = await world.job("runs", cmd="printf", args=["%s\\0", *HOSTILE])
        variables = await world.job("runs", cmd="env", args=["-0"], env=env)
        for plan in (words, variables):
            assert (await world.ended(plan)).exit_code == 0
    arrived = (world.directory(words) / "session.log").read_bytes().split(b"\0")[:-1]
    assert arrived == [text.encode() for text in HOSTILE]
    told = (world.directory(variables) / "session.log").read_bytes().split(b"\0")
    for name, text in env.items():
        assert f"{name}={text}".encode() in told
    for path in world.directory(variables).iterdir():
        assert path.name == "session.log" or "Ångström" not in path.read_text(), path.name


async def test_a_command_is_found_where_the_container_has_it(world: World) -> None:
    async with world.tended():
        plan = await world.job("runs", cmd="./own script", args=["word"])
        home = world.data / "arc" / "home" / "ada"
        script = home / "own script"
        script.write_text('#!/bin/sh\necho "$0 $1"\n')
        script.chmod(0o755)
        seen = await world.ended(plan)
        if seen.exit_code != 0:
            # Its turn may have come before the file was there.
            plan = await world.job("runs", cmd="./own script", args=["word"])
            seen = await world.ended(plan)
    assert (seen.exit_code, await world.backend.logs(plan.launch)) == (0, "./own script word\n")
    with pytest.raises(StartFailed, match="no program frobnicate in Runs") as refused:
        await world.job("runs", cmd="frobnicate")
    assert refused.value.code == Reason.PROGRAM_MISSING
    assert len(list((world.data / "run").iterdir())) <= 2, "nothing is left of what never began"


async def test_without_a_command_the_container_runs_its_own(world: World) -> None:
    async with world.tended():
        plan = await world.job("finishes")
        assert (await world.ended(plan)).reason is Reason.FINISHED
    assert await world.backend.logs(plan.launch) == "all done\n"


async def test_a_container_without_one_asks_for_a_command(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = site_data()["catalogue"]
    catalogue["containers"][0]["local"] = {"environment": "notebook"}
    world.policy = site(catalogue=catalogue)
    name = catalogue["containers"][0]["name"]
    monkeypatch.setattr(type(world.backend), "offer", lambda *_: _AVAILABLE)
    world.backend.accepts(world.plan(name, kind="headless", cmd="python"))
    world.backend.accepts(world.plan(name))
    with pytest.raises(NotAllowed, match="say in cmd which to run") as refused:
        world.backend.accepts(world.plan(name, kind="headless"))
    assert refused.value.field == "cmd"


async def test_waiting_jobs_know_their_place_and_wait_for_a_manager(world: World) -> None:
    plans = [await world.job("runs", **FOREVER) for _ in range(3)]
    for _ in range(3):
        seen = await world.backend.observe()
        assert all(is_queued(seen[plan.launch]) for plan in plans), "looking starts nothing"
    assert [seen[plan.launch].detail for plan in plans] == [
        f"place {place} of 3 in the queue" for place in (1, 2, 3)
    ]
    assert seen[plans[0].launch].reason is Reason.WAITING_FOR_RESOURCES
    assert (await world.backend.look(plans[2])).detail == "place 3 of 3 in the queue"
    capacity = await world.backend.capacity()
    assert capacity is not None
    assert capacity.cores_taken == 0, "what waits takes nothing"
    # Another process that looks on, as the hub does, starts nothing either.
    assert is_queued(await world.new_backend().look(plans[0]))
    async with world.tended():
        await world.until(plans[0], is_running, "the first to run")


async def test_no_more_than_fit_run_at_once(world: World) -> None:
    cores = os.cpu_count() or 1
    size = {"mode": "fixed", "cores": 1, "memory": 1}
    async with world.tended():
        plans = [
            await world.job("runs", cmd="sleep", args=["0.2"], **size) for _ in range(3 * cores)
        ]
        ran = await spans(world, plans)
    for start, _, plan in ran:
        together = [other for begun, ended, other in ran if begun <= start < ended]
        assert sum(each.resources.cores_request for each in together) <= cores, plan.launch
    assert len({plan.launch for *_, plan in ran}) == 3 * cores


async def test_those_that_are_too_large_run_alone_and_in_their_order(world: World) -> None:
    async with world.tended():
        plans = [
            await world.job("runs", cmd="true", **LARGE),
            await world.job("runs", cmd="sleep", args=["0.2"], **LARGE),
            await world.job("runs", cmd="true"),
        ]
        ran = await spans(world, plans)
    ends = [ended for _, ended, _ in ran]
    assert all(ended <= start for ended, (start, *_) in zip(ends, ran[1:], strict=False))


async def test_sessions_are_not_counted(world: World) -> None:
    for _ in range(3):
        await world.running("runs", **LARGE)
    async with world.tended():
        plan = await world.job("finishes")
        assert (await world.ended(plan)).exit_code == 0


async def test_a_manager_that_is_killed_loses_nothing_and_starts_nothing_twice(
    world: World,
) -> None:
    home = world.data / "arc" / "home" / "ada"
    script = "echo $REPLICA_ID >> begun; sleep 0.1; echo done > out-$REPLICA_ID"
    plans = [
        await world.job("runs", cmd="sh", args=["-c", script], env={"REPLICA_ID": str(number)})
        for number in range(8)
    ]
    until = time.monotonic() + WITHIN
    # Each manager knows nothing of those before it, and goes away whatever it was doing.
    while True:
        backend = world.new_backend()
        async with world.tended(backend):
            await asyncio.sleep(LOOK_EVERY)
            seen = await backend.observe()
        waiting = [plan for plan in plans if is_queued(seen[plan.launch])]
        if waiting:
            # Killed after it took the mark away and before it began the supervisor.
            (world.directory(waiting[0]) / supervisor.QUEUED).unlink(missing_ok=True)
        if all(each.life is Life.ENDED for each in seen.values()):
            break
        assert time.monotonic() < until, seen
    assert sorted((home / "begun").read_text().split()) == sorted(map(str, range(8)))
    assert len(list(home.glob("out-*"))) == 8
    assert {seen[plan.launch].reason for plan in plans} == {Reason.FINISHED}


async def test_one_that_was_never_ordered_keeps_nobody_waiting(world: World) -> None:
    """Its manager was killed after it had written plan and mark, and before the order."""
    left = await world.job("runs", **FOREVER, **LARGE)
    (world.directory(left) / "spec.json").unlink()
    async with world.tended():
        plan = await world.job("finishes")
        assert (await world.ended(plan)).exit_code == 0
    assert (await world.backend.look(left)).life is Life.STARTING, "it may be on its way"
    long_ago = time.time() - 3600
    os.utime(world.directory(left), (long_ago, long_ago))
    seen = await world.backend.look(left)
    assert (seen.life, seen.reason) == (Life.ABSENT, Reason.NEVER_STARTED)
    await world.backend.stop(left.launch)
    assert not world.directory(left).exists()


async def test_two_managers_at_once_would_start_each_job_once(world: World) -> None:
    """Only one holds the lock; were there two, the supervisor's own lock would still do."""
    home = world.data / "arc" / "home" / "ada"
    plans = [await world.job("runs", cmd="sh", args=["-c", "echo x >> begun"]) for _ in range(6)]
    async with world.tended(), world.tended(world.new_backend()):
        for plan in plans:
            assert (await world.ended(plan)).exit_code == 0
    assert (home / "begun").read_text() == "x\n" * 6


async def test_a_waiting_job_is_taken_back(world: World) -> None:
    plan = await world.job("runs", **FOREVER)
    assert (world.directory(plan) / "spec.json").exists()
    await world.backend.stop(plan.launch)
    seen = await world.backend.look(plan)
    assert (seen.life, seen.reason, seen.exit_code) == (Life.ENDED, Reason.STOPPED, None)
    assert not (world.directory(plan) / "spec.json").exists()
    assert not (world.data / "scratch" / plan.launch).exists()
    async with world.tended():
        other = await world.job("finishes")
        await world.ended(other)
    assert await world.backend.logs(plan.launch) == "", "it never ran"
    await world.backend.stop(plan.launch)
    assert not world.directory(plan).exists()


async def test_a_running_job_is_ended_and_its_log_stays_until_it_is_fetched(world: World) -> None:
    async with world.tended():
        plan = await world.job("runs", **FOREVER)
        await world.until(plan, is_running, "the job to run")
        await world.log_says(plan, "begun")
        await world.backend.stop(plan.launch)
    seen = await world.backend.look(plan)
    assert (seen.life, seen.reason) == (Life.ENDED, Reason.STOPPED)
    assert await world.backend.logs(plan.launch) == "begun\n"


async def test_time_that_is_over_ends_a_job(world: World) -> None:
    plan = world.plan("runs", kind="headless", **FOREVER)
    plan = plan.model_copy(update={"ends": datetime.now(UTC) + timedelta(seconds=1.5)})
    async with world.tended():
        await world.backend.start(plan, Secrets())
        seen = await world.ended(plan)
    assert seen.reason is Reason.EXPIRED
    assert seen.finished is not None
    assert plan.ends <= seen.finished <= plan.ends + timedelta(seconds=60)


async def test_an_extension_reaches_the_supervisor(world: World) -> None:
    short, long = (world.plan("runs", kind="headless", **FOREVER) for _ in range(2))
    ends = datetime.now(UTC) + timedelta(seconds=2)
    short, long = (plan.model_copy(update={"ends": ends}) for plan in (short, long))
    later = ends + timedelta(days=3)
    for plan in (long, short):
        await world.backend.start(plan, Secrets())
    await world.backend.extend(long, later)
    await world.backend.extend(long, later)
    assert (await world.backend.plans())[long.launch].ends == later
    assert (await world.backend.plans())[short.launch].ends == ends
    async with world.tended():
        assert (await world.ended(short)).reason is Reason.EXPIRED
        assert (await world.backend.look(long)).life is Life.RUNNING, (
            "although its first end is over"
        )
    await world.backend.extend(short, later)
    await world.backend.extend(world.plan("runs"), later)
    assert not (world.directory(short) / supervisor.ENDS).exists(), "what is over stays over"


async def test_plans_are_found_again_without_any_record(world: World) -> None:
    session = await world.running("runs")
    job = await world.job("runs", **FOREVER)
    later = await world.new_backend().plans()
    assert {launch: kept.plan for launch, kept in later.items()} == {
        session.launch: session,
        job.launch: job,
    }
    assert (world.directory(job) / "plan.json").stat().st_mode & 0o777 == 0o600
    (world.directory(session) / "plan.json").write_text("{")
    assert set(await world.new_backend().plans()) == {job.launch}, (
        "one that cannot be read hides no other"
    )


async def test_long_logs_are_cut_at_their_beginning(world: World) -> None:
    async with world.tended():
        plan = await world.job(
            "runs", cmd="sh", args=["-c", "yes 'a line' | head -n 1300000; echo end"]
        )
        assert (await world.ended(plan)).exit_code == 0
    log = await world.backend.logs(plan.launch)
    assert log.startswith(CUT + "a line\n")
    assert log.endswith("end\n")
    assert LONGEST - 100 < len(log) <= LONGEST + len(CUT)
    assert await world.backend.logs(plan.launch, lines=1) == "end\n"


async def test_the_signal_that_ended_a_job_is_in_its_code(world: World) -> None:
    async with world.tended():
        plan = await world.job("runs", cmd="sh", args=["-c", "kill -SEGV $$"])
        seen = await world.ended(plan)
    assert (seen.reason, seen.exit_code) == (Reason.PROGRAM_FAILED, 128 + signal.SIGSEGV)


async def test_a_job_whose_supervisor_is_killed_frees_its_place(world: World) -> None:
    async with world.tended():
        first = await world.job("runs", **FOREVER, **LARGE)
        await world.until(first, is_running, "the job to run")
        second = await world.job("runs", cmd="true", **LARGE)
        assert is_queued(await world.backend.look(second))
        os.kill(world.supervisor(first), signal.SIGKILL)
        assert (await world.ended(second)).exit_code == 0
        assert (await world.ended(first)).reason is Reason.SUPERVISOR_LOST


async def test_all_that_wait_are_called_off_at_once(world: World) -> None:
    session = await world.running("runs")
    waiting = [await world.job("runs", **FOREVER) for _ in range(3)]
    assert call_off_waiting(world.data) == 3
    assert call_off_waiting(world.data) == 0
    seen = await world.backend.observe()
    assert {seen[plan.launch].reason for plan in waiting} == {Reason.STOPPED}
    assert seen[session.launch].life is Life.RUNNING
    state = supervisor.read_state(world.directory(waiting[0]))
    assert state is not None
    assert (state.owner, state.session) == ("ada", waiting[0].session)


async def test_without_a_sandbox_jobs_run_all_the_same(base: Path) -> None:
    """The hub's own user, or the owner's uid alone, is what is left where bubblewrap is missing."""
    kind = "uids" if os.geteuid() == 0 else "none"
    world = World(base / "unsandboxed", Isolation(kind=kind, reason="for this test"))
    try:
        script = "id -u; pwd; printf '%s' \"$SAID\""
        async with world.tended():
            plan = await world.job(
                "runs", cmd="sh", args=["-c", script], env={"SAID": "\n".join(HOSTILE)}
            )
            assert (await world.ended(plan)).exit_code == 0
        uid = ADA.uid if os.geteuid() == 0 else os.geteuid()
        home = world.data / "arc" / "home" / "ada"
        expected = "\n".join([str(uid), str(home), *HOSTILE])
        written = (world.directory(plan) / "session.log").read_bytes().decode()
        assert written == expected
        assert not (world.data / "scratch" / plan.launch).exists()
    finally:
        await asyncio.to_thread(world.clear)
