"""The back end of one machine by itself: real supervisors and programs, no hub."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from canfar_spawner.core.backend import Secrets, Use
from canfar_spawner.core.errors import NotAllowed, Unavailable
from canfar_spawner.core.names import LaunchId
from canfar_spawner.core.status import Life, Reason
from canfar_spawner.local import evidence
from canfar_spawner.local import state as supervisor
from canfar_spawner.local.backend import LocalBackend
from canfar_spawner.local.launcher import Launcher
from tests.core.world import ADA, site, site_data
from tests.local.world import LOOK_EVERY, WITHIN, NeverStarts, World
from tests.support.hub import wait_for
from tests.support.launch import alive

_GIB = 2**30


async def test_from_start_to_stop(world: World) -> None:
    plan = await world.running("marks", mode="fixed", cores=2, memory=4)
    await world.log_says(plan, "done")
    scratch = world.data / "scratch" / plan.launch
    assert (scratch / "d").is_dir()
    assert (world.directory(plan) / "spec.json").stat().st_mode & 0o777 == 0o600

    capacity = await world.backend.capacity()
    assert capacity is not None
    assert (capacity.cores_taken, capacity.memory_taken) == (2, 4 * _GIB)
    assert capacity.memory > 0
    assert capacity.cores == os.cpu_count()

    await world.backend.stop(plan.launch)
    seen = (await world.backend.observe())[plan.launch]
    assert (seen.life, seen.reason) == (Life.ENDED, Reason.STOPPED)
    assert seen.at is not None
    assert not scratch.exists()
    assert not (world.directory(plan) / "spec.json").exists(), "the order held secrets"
    assert not (world.directory(plan) / "session").exists()
    assert (world.data / "arc" / "home" / "ada" / "kept").exists()
    assert await world.backend.logs(plan.launch, lines=10) == "done\n", "the log stays"
    assert await world.backend.usage(plan.launch) is None
    after = await world.backend.capacity()
    assert after is not None
    assert (after.cores_taken, after.memory_taken) == (0, 0)


async def test_a_later_hub_counts_what_was_promised(world: World) -> None:
    plan = await world.running("runs", mode="fixed", cores=2, memory=4)
    world.backend = world.new_backend()
    capacity = await world.backend.capacity()
    assert capacity is not None
    assert capacity.cores_taken == 2
    os.kill(world.supervisor(plan), signal.SIGTERM)
    await world.ended(plan)
    capacity = await world.backend.capacity()
    assert capacity is not None
    assert capacity.cores_taken == 0


async def test_the_log_gives_its_last_lines(world: World) -> None:
    plan = await world.start("finishes")
    await world.ended(plan)
    log = world.directory(plan) / "session.log"
    log.write_bytes(b"one\ntwo\n\xff\xfe three\n")
    assert (await world.backend.logs(plan.launch, lines=2)).splitlines()[0] == "two"
    assert await world.backend.logs(LaunchId("nosuchid-0123456789ab"), lines=5) == ""
    assert await world.backend.events(plan.launch) == ()


async def test_usage_of_a_program_that_computes(world: World) -> None:
    plan = await world.running("busy")
    first = await world.backend.usage(plan.launch)
    assert first is not None
    assert first.cores is None, "one look tells no rate"
    deadline = time.monotonic() + WITHIN
    use: Use | None = first
    while use is None or not use.cores or not use.memory:
        assert time.monotonic() < deadline, f"no use was measured: {use}"
        await asyncio.sleep(LOOK_EVERY)
        use = await world.backend.usage(plan.launch)
    assert Decimal(0) < use.cores <= (os.cpu_count() or 1) + 1
    assert use.memory < _GIB


async def test_usage_counts_what_a_thread_has_started(world: World) -> None:
    """Linux lists a child with the thread that made it, not with its process."""
    child = "import time; held = bytes(range(200)) * 300_000; time.sleep(600)"
    code = (
        "import subprocess, threading, time\n"
        f"run = lambda: subprocess.run(['python3', '-c', {child!r}])\n"
        "threading.Thread(target=run).start()\n"
        "time.sleep(600)\n"
    )
    command = ["python3", "-c", code]
    catalogue = site_data()["catalogue"]
    catalogue["containers"][0]["local"] = {"command": command}
    world.policy = site(catalogue=catalogue)
    name = catalogue["containers"][0]["name"]
    plan = await world.running(name)
    deadline = time.monotonic() + WITHIN
    while True:
        use = await world.backend.usage(plan.launch)
        if use is not None and use.memory is not None and use.memory > 60_000_000:
            break
        assert time.monotonic() < deadline, f"the child was not counted: {use}"
        await asyncio.sleep(LOOK_EVERY)


@pytest.mark.parametrize(
    ("container", "reason", "code"),
    [("finishes", Reason.FINISHED, 0), ("fails", Reason.PROGRAM_FAILED, 3)],
)
async def test_a_program_that_ends_by_itself(
    world: World, container: str, reason: Reason, code: int
) -> None:
    plan = await world.start(container)
    seen = await world.ended(plan)
    assert (seen.reason, seen.exit_code) == (reason, code)
    capacity = await world.backend.capacity()
    assert capacity is not None
    assert capacity.cores_taken == 0, "nobody is promised anything any more"
    await world.backend.stop(plan.launch)  # once more is no mistake


async def test_a_killed_supervisor_is_cleaned_up_after(world: World) -> None:
    plan = await world.running("marks")
    await world.log_says(plan, "done")
    state = supervisor.read_state(world.directory(plan))
    assert state is not None
    assert state.program is not None
    os.kill(state.supervisor_pid, signal.SIGKILL)
    seen = await world.ended(plan)
    assert seen.reason is Reason.SUPERVISOR_LOST
    assert not alive(state.program.pid)
    assert not (world.data / "scratch" / plan.launch).exists()
    assert (world.data / "arc" / "home" / "ada" / "kept").exists()


async def test_the_one_that_cleans_up_may_be_killed_as_well(world: World) -> None:
    """A back end that has asked for a clean-up asks again when nothing came of it."""
    plan = await world.running("runs")
    backend, path = world.backend, world.directory(plan)
    asked: list[Path] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend.launcher, "supervise", asked.append)
        os.kill(world.supervisor(plan), signal.SIGKILL)
        await world.until(plan, lambda _: bool(asked), "the first clean-up")
        await backend.observe()
        assert asked == [path], "it is given some time"
    assert (await world.ended(plan)).reason is Reason.SUPERVISOR_LOST


async def test_a_written_order_is_started_exactly_once(world: World) -> None:
    killed = world.new_backend(NeverStarts)
    plan = world.plan("runs")
    await killed.start(plan, Secrets(env=(("WORD", SecretStr("hidden")),)))
    assert (world.directory(plan) / "spec.json").exists()
    assert not supervisor.is_alive(world.directory(plan))

    # Two hubs could not live at a time; two looks of one can come at once.
    first, second = await asyncio.gather(world.backend.observe(), world.backend.observe())
    assert {first[plan.launch].life, second[plan.launch].life} == {Life.STARTING}
    await world.until(plan, lambda seen: seen.life is Life.RUNNING, "the program to run")
    await world.log_says(plan, "started")
    for _ in range(5):
        await world.backend.observe()
    assert await world.backend.logs(plan.launch, lines=10) == "started\n"


async def test_one_start_makes_one_supervisor(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking at a launch whose supervisor is about to begin asks for no second one."""
    asked = []
    real = Launcher.supervise

    def supervise(path: Path) -> None:
        asked.append(path)
        real(path)

    monkeypatch.setattr(world.backend.launcher, "supervise", supervise)
    await world.running("runs")
    assert len(asked) == 1


def project_gid(world: World, name: str) -> int:
    """Give the group of a project's directory, as far as only root can have set it."""
    found = (world.data / "arc" / "projects" / name).stat()
    return found.st_gid if os.geteuid() == 0 else 0


async def test_a_project_whose_gid_came_with_the_sign_in_is_made(world: World) -> None:
    """A provider gives groups that the site's own file does not have."""
    groups = {group.name: group.gid for group in ADA.groups}
    world.backend = LocalBackend(
        world.backend.launcher, policy=lambda: world.policy, gids=lambda: {"survey": 7777}
    )
    plan = await world.running("runs")
    root = os.geteuid() == 0
    assert project_gid(world, "demo") == (groups["demo"] if root else 0)
    assert project_gid(world, "survey") == (7777 if root else 0), "what the site says holds"
    await world.backend.stop(plan.launch)


async def test_a_project_whose_group_has_no_number_is_refused(world: World) -> None:
    plan = world.plan("runs")
    nameless = plan.model_copy(update={"identity": ADA.model_copy(update={"groups": ()})})
    world.backend = LocalBackend(
        world.backend.launcher, policy=lambda: world.policy, gids=lambda: {"demo": 7004}
    )
    world.backend.project_directories()
    with pytest.raises(Unavailable, match="The group of the project survey has no number here"):
        await world.backend.start(nameless, Secrets())
    assert not world.directory(plan).exists()


async def test_starting_twice_starts_once(world: World) -> None:
    plan = await world.start("runs")
    await world.backend.start(plan, Secrets())
    await world.until(plan, lambda seen: seen.life is Life.RUNNING, "the program to run")
    pid = world.supervisor(plan)
    await world.log_says(plan, "started")
    await world.new_backend().start(plan, Secrets())
    assert world.supervisor(plan) == pid
    assert await world.backend.logs(plan.launch, lines=10) == "started\n"


async def test_starting_twice_at_the_same_time_starts_once(world: World) -> None:
    plan = world.plan("runs")
    await asyncio.gather(*(world.backend.start(plan, Secrets()) for _ in range(3)))
    await world.until(plan, lambda seen: seen.life is Life.RUNNING, "the program to run")
    await world.log_says(plan, "started")
    assert await world.backend.logs(plan.launch, lines=10) == "started\n"


async def test_what_has_ended_is_not_started_again(world: World) -> None:
    plan = await world.start("finishes")
    await world.ended(plan)
    await world.backend.start(plan, Secrets())
    assert (await world.ended(plan)).reason is Reason.FINISHED
    assert not (world.data / "scratch" / plan.launch).exists(), "nobody would wipe it"
    assert await world.backend.logs(plan.launch, lines=10) == "all done\n"


async def test_stopping_what_was_never_started(world: World) -> None:
    plan = world.plan("runs")
    await world.new_backend(NeverStarts).start(plan, Secrets())
    await world.backend.stop(plan.launch)
    assert plan.launch not in await world.backend.observe()
    assert not world.directory(plan).exists()
    assert not (world.data / "scratch" / plan.launch).exists()


async def test_stopping_while_it_starts(world: World) -> None:
    plan = await world.start("runs")
    await world.backend.stop(plan.launch)
    path = world.directory(plan)
    # Either the order was taken back in time, or what it began has ended.
    state = supervisor.read_state(path)
    assert state is None or state.phase == "ended"
    wait_for(lambda: not supervisor.is_alive(path), "the supervisor to be gone")
    assert not (path / "spec.json").exists()
    capacity = await world.backend.capacity()
    assert capacity is not None
    assert capacity.cores_taken == 0


async def test_what_is_not_there_is_no_mistake(world: World) -> None:
    nothing = LaunchId("nosuchid-0123456789ab")
    await world.backend.stop(nothing)
    assert await world.backend.usage(nothing) is None
    assert nothing not in await world.backend.observe()


async def test_one_that_cannot_be_read_hides_no_other(world: World) -> None:
    broken, good = await world.running("runs"), await world.running("runs")
    path = world.directory(broken) / "state.json"
    content = path.read_bytes()
    path.write_text("{not a state")
    try:
        seen = await world.backend.observe()
        assert seen[broken.launch].life is Life.UNKNOWN, "which is no proof of an end"
        assert seen[good.launch].life is Life.RUNNING
        assert await world.backend.usage(broken.launch) is None
    finally:
        path.write_bytes(content)
    assert (await world.backend.observe())[broken.launch].life is Life.RUNNING


async def test_a_directory_that_vanishes_hides_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, good = world.plan("runs"), await world.running("runs")
    world.directory(gone).mkdir()
    real = supervisor.read_state

    def removed_meanwhile(path: Path) -> supervisor.LaunchState | None:
        found = real(path)
        if path == world.directory(gone):
            path.rmdir()
        return found

    monkeypatch.setattr(evidence, "read_state", removed_meanwhile)
    assert (await world.backend.observe())[good.launch].life is Life.RUNNING


async def test_what_was_never_written_down_counts_as_gone_after_a_while(world: World) -> None:
    plan = world.plan("runs")
    path = world.directory(plan)
    path.mkdir()
    assert (await world.backend.observe())[plan.launch].life is Life.STARTING
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    seen = (await world.backend.observe())[plan.launch]
    assert (seen.life, seen.reason) == (Life.ABSENT, Reason.NEVER_STARTED)


async def test_what_is_no_launch_is_passed_over(world: World) -> None:
    (world.data / "run" / "lost+found").mkdir()
    (world.data / "run" / "README").write_text("")
    assert await world.backend.observe() == {}


async def test_offers(world: World, monkeypatch: pytest.MonkeyPatch, base: Path) -> None:
    by_name = {each.name: each for each in world.policy.catalogue.containers}
    assert world.backend.offer(by_name["runs"]).available
    absent = world.backend.offer(by_name["nowhere"])
    assert (absent.available, absent.command) == (False, "apt-get install it")
    assert "no-such-program-of-ours" in absent.reason
    needs = world.backend.offer(by_name["carta"])
    assert not needs.available
    assert "cluster" in needs.reason

    # What is on the path of the hub alone is not on a session's.
    (base / "bin").mkdir()
    own = base / "bin" / "no-such-program-of-ours"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", f"{base / 'bin'}:{os.environ['PATH']}")
    assert not world.backend.offer(by_name["nowhere"]).available


async def test_refusals(world: World) -> None:
    world.backend.accepts(world.plan("runs"))
    for container, options, field_name in (
        ("nowhere", {}, "container"),
        ("carta", {}, "container"),
        ("runs", {"version": "1"}, "version"),
    ):
        with pytest.raises(NotAllowed) as refused:
            world.backend.accepts(world.plan(container, **options))
        assert (refused.value.code, refused.value.field) == ("needs_cluster", field_name)
