from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from canfar_spawner.local import processes, run
from tests.support.hub import wait_for
from tests.support.launch import NOBODY, SECRET, Launch, alive, status_of

New = Callable[..., Launch]
FOREVER = "echo ready; exec sleep 1000"
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
    "# : ; & | > *",
    "\\n\\0",
    "Ångström ✓ 🜨",
    "'; exit 1; '",
]


def test_a_program_ends_by_itself(launch: Launch) -> None:
    launch.order("/bin/sh", "-c", "echo out; echo err >&2; pwd; umask; touch left; exit 7")
    assert launch.run() == 0
    state = launch.state
    assert (state.phase, state.reason, state.exit_code, state.signal) == (
        "ended",
        "exited",
        7,
        None,
    )
    assert (state.launch_id, state.session, state.owner, state.port) == (
        launch.directory.name,
        "s1",
        "ada",
        1234,
    )
    assert not state.out_of_memory
    assert state.detail is None
    assert state.peak_memory_bytes
    assert state.started_at
    assert state.ended_at
    assert state.at <= state.started_at <= state.ended_at <= time.time()
    assert launch.log == f"out\nerr\n{launch.scratch}\n0022\n"
    assert (launch.directory / "session.log").stat().st_mode & 0o777 == 0o600
    assert not launch.scratch.exists()
    assert not (launch.directory / "spec.json").exists()
    assert not run.is_alive(launch.directory)


def test_the_end_by_a_signal_is_told(launch: Launch) -> None:
    launch.order("/bin/sh", "-c", "kill -SEGV $$")
    assert launch.run() == 0
    assert (launch.state.reason, launch.state.exit_code) == ("exited", None)
    assert launch.state.signal == signal.SIGSEGV
    assert not launch.state.out_of_memory


def test_a_program_begins_as_any_program_would(launch: Launch) -> None:
    launch.order("/bin/cat", "/proc/self/status", "/dev/stdin", umask=0o027)
    assert launch.run() == 0
    seen = dict(line.split(":\t", 1) for line in launch.log.splitlines() if ":\t" in line)
    assert int(seen["SigBlk"], 16) == 0
    # Above 31 are the C library's own, which it lets nobody change back.
    assert int(seen["SigIgn"], 16) & 0x7FFFFFFF == 0
    assert seen["Umask"] == "0027"
    assert launch.state.exit_code == 0


def test_a_program_may_open_its_outputs_anew(launch: Launch) -> None:
    launch.order("/bin/sh", "-c", "/bin/sh -c 'echo again > /dev/stderr'; cat /dev/null")
    assert launch.run() == 0
    assert launch.log == "again\n"


def test_words_arrive_byte_for_byte(launch: Launch) -> None:
    launch.order("/usr/bin/printf", "%s\\0", *HOSTILE)
    assert launch.run() == 0
    arrived = (launch.directory / "session.log").read_bytes().split(b"\0")[:-1]
    assert arrived == [text.encode() for text in HOSTILE]


def test_variables_arrive_byte_for_byte_and_no_others(launch: Launch) -> None:
    env = {f"NAME{number}": text for number, text in enumerate(HOSTILE)}
    launch.order("/usr/bin/env", "-0", env=env)
    assert launch.run() == 0
    arrived = (launch.directory / "session.log").read_bytes().split(b"\0")[:-1]
    marked = {**env, run.MARK: launch.directory.name}
    assert sorted(arrived) == sorted(f"{key}={text}".encode() for key, text in marked.items())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"argv": ["/no/such/program"]}, "/no/such/program: No such file or directory"),
        ({"argv": ["/etc/passwd"]}, "/etc/passwd: Permission denied"),
        ({"cwd": "/no/such/place"}, "/no/such/place: No such file or directory"),
        ({"argv": ["/bin/true", "a\0b"]}, "embedded null byte"),
    ],
)
def test_a_start_that_fails_is_explained(
    new_launch: New, changes: dict[str, Any], told: str
) -> None:
    launch = new_launch()
    launch.order("/bin/true", **changes)
    assert launch.run() == run.START_FAILED
    assert (launch.state.phase, launch.state.reason) == ("ended", "start_failed")
    assert launch.state.detail == told
    assert launch.state.program is None
    assert not launch.scratch.exists()
    assert not (launch.directory / "spec.json").exists()


@pytest.mark.parametrize(
    "content",
    [None, "", "{", "[]", '{"argv": ["true"]}', "words", "env", "argv", "wipe", "grace", "user"],
)
def test_an_order_that_cannot_be_read_starts_nothing(new_launch: New, content: str | None) -> None:
    launch = new_launch()
    spec = launch.directory / "spec.json"
    wrong: dict[str, dict[str, Any]] = {
        "words": {"argv": []},
        "argv": {"argv": "/bin/true"},
        "env": {"env": {"TOKEN": [SECRET]}},
        "wipe": {"wipe": 1},
        "grace": {"grace": "long"},
        "user": {"user": {"uid": 1}},
    }
    if content in wrong:
        launch.order("/bin/true", **wrong[content])
    elif content is not None:
        spec.write_text(content)
    assert launch.run() == run.BROKEN
    assert (launch.state.phase, launch.state.reason) == ("ended", "start_failed")
    assert launch.state.detail
    assert "spec.json" in launch.state.detail
    assert SECRET not in launch.state.detail
    assert not spec.exists()
    assert launch.run() == run.HAS_ENDED


def test_no_directory_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([str(tmp_path / "none")]) == run.BROKEN
    assert "none/lock: No such file" in capsys.readouterr().err
    assert run.main([]) == run.BROKEN


def test_root_takes_no_orders_for_the_loader_into_a_sandbox(new_launch: New) -> None:
    launch = new_launch()
    launch.order("/bin/echo", "ran", env={"LD_PRELOAD": "/no/such.so"})
    launch.run()
    if os.geteuid() == 0:
        assert launch.state.reason == "start_failed"
        assert "loader" in (launch.state.detail or "")
    else:
        assert launch.state.reason == "exited"


@pytest.mark.parametrize("way", ["asked", "by itself", "deadline"])
@pytest.mark.parametrize(
    "begin",
    ["setsid -f {}", "(setsid sh -c '(setsid {} &)' &)", "env -i /usr/bin/setsid -f /bin/sh {}"],
    ids=["new session", "forked twice", "without its mark"],
)
def test_nothing_outlives_its_launch(launch: Launch, way: str, begin: str) -> None:
    child = launch.script(
        "child", "trap '' TERM HUP; echo child=$$; while :; do /bin/sleep 1000; done"
    )
    log = launch.directory / "session.log"
    told = f"until grep -q child= {log}; do sleep 0.05; done"
    last = "exit 3" if way == "by itself" else "exec sleep 1000"
    deadline = time.time() + 2 if way == "deadline" else None
    launch.order(
        "/bin/sh", "-c", f"{begin.format(child)}; {told}; {last}", grace=0.2, deadline=deadline
    )
    supervisor = launch.begin()
    if way == "asked":
        wait_for(log.exists, "the log")
        assert alive(launch.told("child"))
        assert run.stop(launch.directory)
    assert supervisor.wait(timeout=60) == 0
    assert not alive(launch.told("child"))
    state = launch.state
    assert state.reason == {"asked": "stopped", "by itself": "exited"}.get(way, "deadline")
    ends = {"by itself": (3, None)}
    assert (state.exit_code, state.signal) == ends.get(way, (None, signal.SIGTERM))
    assert not launch.scratch.exists()


def test_a_process_that_forks_and_exits_without_end_is_caught(launch: Launch) -> None:
    hopper = launch.script("hopper", "trap '' TERM HUP\n\"$0\" &")
    launch.order("/bin/sh", "-c", f"env -i setsid -f {hopper}; {FOREVER}", grace=0.2)
    supervisor = launch.running()
    assert run.stop(launch.directory)
    assert supervisor.wait(timeout=60) == 0
    scripts = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [words for words in scripts if hopper.encode() in words]


def test_a_program_is_asked_before_it_is_killed(launch: Launch) -> None:
    launch.order("/bin/sh", "-c", "trap 'echo tidied; exit 5' TERM; echo ready; sleep 1000 & wait")
    supervisor = launch.running()
    assert run.stop(launch.directory)
    assert supervisor.wait(timeout=60) == 0
    assert (launch.state.reason, launch.state.exit_code) == ("stopped", 5)
    assert launch.log == "ready\ntidied\n"


def test_being_asked_twice_skips_the_grace(launch: Launch) -> None:
    code = "trap 'echo asked=1' TERM; echo ready; while :; do sleep 1000 & wait $!; done"
    launch.order("/bin/sh", "-c", code, grace=3600.0)
    supervisor = launch.running()
    assert run.stop(launch.directory)
    launch.told("asked")
    assert supervisor.poll() is None
    assert run.stop(launch.directory)
    assert supervisor.wait(timeout=60) == 0
    assert (launch.state.reason, launch.state.signal) == ("stopped", signal.SIGKILL)
    assert not launch.state.out_of_memory


def test_a_deadline_that_is_over_starts_nothing(new_launch: New) -> None:
    launch = new_launch()
    launch.order("/bin/echo", "ran", deadline=time.time() - 1)
    assert launch.run() == 0
    assert (launch.state.reason, launch.state.program) == ("deadline", None)
    assert not (launch.directory / "session.log").exists()
    assert not launch.scratch.exists()


def test_hanging_up_and_interrupting_do_not_end_it(launch: Launch) -> None:
    launch.order("/bin/sh", "-c", FOREVER)
    supervisor = launch.running()
    for number in (signal.SIGHUP, signal.SIGINT):
        supervisor.send_signal(number)
    fields = status_of(supervisor.pid)
    assert int(fields["SigIgn"], 16) & 0b11 == 0b11
    assert fields["NSsid"].split() == [str(supervisor.pid)]
    assert Path(f"/proc/{supervisor.pid}/fd/0").readlink() == Path(os.devnull)
    assert run.is_alive(launch.directory)
    assert run.stop(launch.directory)
    assert supervisor.wait(timeout=60) == 0
    assert launch.state.reason == "stopped"


def test_only_one_supervisor_has_a_launch(launch: Launch) -> None:
    launch.order("/bin/sh", "-c", f"echo begun >> begun; {FOREVER}")
    launch.running()
    before = launch.state
    assert run.is_alive(launch.directory)
    assert launch.run() == run.TAKEN
    assert launch.state == before
    assert (launch.scratch / "begun").read_text() == "begun\n"
    assert before.supervisor == processes.identify(before.supervisor_pid)
    assert before.program
    assert before.program == processes.identify(before.program.pid)
    locks = [
        str(link.readlink())
        for link in Path(f"/proc/{before.program.pid}/fd").iterdir()
        if link.exists()
    ]
    assert str(launch.directory / "lock") not in locks


def test_looking_whether_it_lives_does_not_keep_it_from_starting(new_launch: New) -> None:
    launch = new_launch()
    assert not run.is_alive(launch.directory)
    assert not (launch.directory / "lock").exists()
    launch.order("/bin/sh", "-c", FOREVER)
    supervisor = launch.begin()
    until = time.monotonic() + 60
    while (state := run.read_state(launch.directory)) is None or state.phase != "running":
        run.is_alive(launch.directory)
        assert supervisor.poll() is None
        assert time.monotonic() < until
    assert run.is_alive(launch.directory)


def test_a_killed_supervisor_is_finished_for(launch: Launch) -> None:
    child = launch.script("child", "trap '' TERM HUP; echo child=$$; while :; do sleep 1000; done")
    counted = launch.directory.parent / "counted"
    counted.write_text("")
    counted.chmod(0o666)
    code = f"echo begun >> {counted}; setsid -f {child}; {FOREVER}"
    launch.order("/bin/sh", "-c", code)
    supervisor = launch.running()
    stray = launch.told("child")
    program = launch.state.program
    assert program
    supervisor.kill()
    supervisor.wait()
    assert not run.is_alive(launch.directory)
    assert launch.state.phase == "running"
    assert not run.stop(launch.directory)
    wait_for(lambda: not alive(program.pid), "the kernel to take the program along")
    assert alive(stray)
    assert launch.run() == run.FINISHED_FOR
    assert not alive(stray)
    assert (launch.state.phase, launch.state.reason) == ("ended", "supervisor_lost")
    assert (launch.state.program, launch.state.session) == (program, "s1")
    assert not launch.scratch.exists()
    assert not (launch.directory / "spec.json").exists()
    assert launch.run() == run.HAS_ENDED
    assert counted.read_text() == "begun\n"


def test_after_a_crash_without_an_order_nothing_is_started(new_launch: New) -> None:
    launch = new_launch()
    (launch.directory / "state.json").write_text("{")
    launch.order("/bin/echo", "ran")
    assert launch.run() == run.FINISHED_FOR
    assert launch.state.reason == "supervisor_lost"
    assert not (launch.directory / "session.log").exists()


def test_no_secret_is_written_down(launch: Launch) -> None:
    launch.order("/bin/sh", "-c", FOREVER)
    supervisor = launch.running()
    running = (launch.directory / "state.json").read_text()
    words = Path(f"/proc/{supervisor.pid}/cmdline").read_bytes()
    assert run.stop(launch.directory)
    assert supervisor.wait(timeout=60) == 0
    for path in launch.directory.iterdir():
        assert SECRET not in path.read_text()
    assert SECRET not in running
    assert SECRET.encode() not in words


def test_only_the_very_supervisor_is_asked(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "1000"]) as bystander:
        itself = processes.identify(bystander.pid)
        assert itself
        state = run.LaunchState(
            phase="running",
            launch_id="l",
            supervisor=replace(itself, start_ticks=itself.start_ticks - 1),
            boot_id=processes.boot_id(),
            at=0.0,
        )
        for other in (state, replace(state, supervisor=itself, boot_id="another")):
            (tmp_path / "state.json").write_text(json.dumps(asdict(other)))
            assert run.read_state(tmp_path) == other
            assert not run.stop(tmp_path)
        bystander.kill()
        assert bystander.wait() == -signal.SIGKILL


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"phase": "ended"}', '{"supervisor": {}}'])
def test_a_state_of_another_making_is_not_understood(tmp_path: Path, content: str) -> None:
    assert run.read_state(tmp_path) is None
    assert not run.stop(tmp_path)
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(ValueError, match=r"line 1|not a supervisor"):
        run.read_state(tmp_path)


def test_a_hub_of_root_gives_the_users_ids_and_no_more(
    new_launch: New, need: Callable[[str, bool, str], None]
) -> None:
    need("isolation", os.geteuid() == 0, "run these tests as root")
    launch = new_launch(program_user=NOBODY)
    launch.order("/bin/cat", "/proc/self/status")
    assert launch.run() == 0
    seen = dict(line.split(":", 1) for line in launch.log.splitlines() if ":" in line)
    assert seen["Uid"].split() == seen["Gid"].split() == [str(NOBODY)] * 4
    assert seen["Groups"].split() == ["4001", "4002"]
    assert int(seen["CapEff"], 16) == int(seen["CapPrm"], 16) == 0
    assert seen["NoNewPrivs"].strip() == "1"


def test_want_of_memory_is_told(new_launch: New, need: Callable[[str, bool, str], None]) -> None:
    line = [one for one in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in one]
    own = Path("/sys/fs/cgroup/memory") / line[0].split(":", 2)[2].strip("/") if line else Path("/")
    group = own / f"canfar-test-{os.getpid()}"
    writable = bool(line) and os.access(own, os.W_OK)
    need("cgroup", writable, "this looks at a control group of version 1 that root may divide")
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(96 * 2**20))
        join = f'echo $$ > {group}/cgroup.procs; exec "$@"'
        launch = new_launch(wrapper=("/bin/sh", "-c", join, "sh"))
        launch.order("/bin/sh", "-c", "tail /dev/zero")
        assert launch.run() == 0
        assert launch.state.out_of_memory
        assert (launch.state.exit_code, launch.state.reason) == (137, "exited")
        assert (launch.state.peak_memory_bytes or 0) > 48 * 2**20
    finally:
        group.rmdir()
