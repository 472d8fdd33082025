from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from canfar_spawner.local import run
from canfar_spawner.local.isolation import python_roots, system_entries
from canfar_spawner.local.sandbox import SandboxView, SystemEntry, bwrap_argv
from tests.support.hub import wait_for
from tests.support.launch import NOBODY, Launch, alive, public_python

Need = Callable[[str, bool, str], None]
UID, GID, GROUPS = 23001, 23002, (24001, 24002)
BARE = SandboxView(
    bwrap="/usr/bin/bwrap",
    setpriv=None,
    uid=None,
    gid=None,
    groups=(),
    home_source="/data/arc/home/ada",
    home_target="/arc/home/ada",
    projects=(("/data/arc/projects/demo", "/arc/projects/demo"),),
    scratch_source="/data/scratch/l",
    scratch_target="/scratch",
    session_source="/data/run/l/session",
    session_target="/run/canfar",
    files_root="/files",
    system=(SystemEntry("/bin", "usr/bin"), SystemEntry("/lib", None)),
    read_only=("/opt/envs/lab",),
    passwd_source="/data/run/l/passwd",
    group_source="/data/run/l/group",
    hostname="s1",
)


def pairs(command: list[str], option: str) -> dict[str, str]:
    return {command[at + 2]: command[at + 1] for at, word in enumerate(command) if word == option}


def test_only_what_is_named_is_bound() -> None:
    command = bwrap_argv(BARE, ["lab", "--port", "1"])
    assert pairs(command, "--bind") == {
        "/arc/home/ada": "/data/arc/home/ada",
        "/arc/projects/demo": "/data/arc/projects/demo",
        "/scratch": "/data/scratch/l",
        "/run/canfar": "/data/run/l/session",
    }
    assert pairs(command, "--ro-bind") == {
        "/usr": "/usr",
        "/etc": "/etc",
        "/lib": "/lib",
        "/opt/envs/lab": "/opt/envs/lab",
        "/etc/passwd": "/data/run/l/passwd",
        "/etc/group": "/data/run/l/group",
    }
    assert command[0] == "/usr/bin/bwrap"
    assert command[command.index("--") :] == ["--", "lab", "--port", "1"]


def test_every_parent_is_made_open_before_its_children() -> None:
    command = bwrap_argv(BARE, ["true"])
    made = [command[at + 3] for at, word in enumerate(command) if word == "--perms"]
    for target in (*pairs(command, "--bind"), *pairs(command, "--ro-bind")):
        for parent in Path(target).parents:
            if str(parent) not in ("/", "/etc", "/usr"):
                assert made.index(str(parent)) < len(command)
                assert command.index(str(parent)) < command.index(target)


def test_text_is_never_joined() -> None:
    hostile = ["a b", "$(x)", "--bind", "", "--", "\n"]
    assert bwrap_argv(BARE, hostile)[-len(hostile) :] == hostile
    odd = replace(BARE, home_source="/data/$(x) y\n'")
    assert pairs(bwrap_argv(odd, ["x"]), "--bind")["/arc/home/ada"] == "/data/$(x) y\n'"


@pytest.mark.parametrize(
    "view",
    [
        replace(BARE, read_only=("/scratch/envs/lab",)),
        replace(BARE, read_only=("/arc/home/ada/envs",)),
        replace(BARE, projects=(("/a", "/arc/projects/a"), ("/b", "/arc/projects/a/b"))),
        replace(BARE, session_target="/scratch/session"),
        replace(BARE, setpriv="/usr/bin/setpriv"),
        replace(BARE, setpriv="/usr/bin/setpriv", uid=1000),
    ],
)
def test_a_view_that_cannot_be_safe_is_refused(view: SandboxView) -> None:
    with pytest.raises(ValueError, match=r"cannot be shown|needs a uid"):
        bwrap_argv(view, ["true"])


@dataclass
class Sandbox:
    """A real view of a real data directory."""

    base: Path
    user: int | None
    """Whom bubblewrap itself runs as, where not as these tests."""
    uid: int
    gid: int
    view: SandboxView

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the view."""
        return subprocess.run(
            bwrap_argv(self.view, list(argv)),
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            env={"PATH": "/usr/bin:/bin", "NAME": "a=b\n'c'"},
            cwd="/",
            umask=0o027,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def out(self, code: str) -> str:
        """Give what a shell in the view writes; it must end well."""
        done = self.run("/bin/sh", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(params=["root", "plain"])
def sandbox(request: pytest.FixtureRequest, base: Path, need: Need) -> Sandbox:
    """Give a view made by root for a user, and one made by a plain user for itself."""
    bwrap, setpriv = shutil.which("bwrap"), shutil.which("setpriv")
    root = os.geteuid() == 0
    need("isolation", bwrap is not None, "install bubblewrap")
    if request.param == "root":
        need("isolation", root and setpriv is not None, "run these tests as root, with setpriv")
        user, uid, gid = None, UID, GID
    else:
        user = NOBODY if root else None
        uid = gid = NOBODY
        if not root:
            uid, gid = os.getuid(), os.getgid()
    tree = [
        "arc/home/ada", "arc/home/ben", "arc/projects/demo", "arc/projects/other",
        "hub", "scratch/l1", "scratch/l2", "run/l1/session", "run/l2/session", "envs/tool/bin",
    ]  # fmt: skip
    for name in tree:
        (base / name).mkdir(parents=True)
        (base / name / "here").write_text(name)
    for name in ("arc/home/ada", "arc/projects/demo", "scratch/l1", "run/l1/session"):
        os.chown(base / name, uid, gid)
        (base / name).chmod(0o700)
    (base / "passwd").write_text(f"ada:x:{uid}:{gid}::/arc/home/ada:/bin/sh\n")
    (base / "group").write_text(f"astronomers:x:{gid}:\n")
    made = Sandbox(
        base,
        user,
        uid,
        gid,
        replace(
            BARE,
            bwrap=str(bwrap),
            setpriv=setpriv if request.param == "root" else None,
            uid=uid if request.param == "root" else None,
            gid=gid if request.param == "root" else None,
            groups=GROUPS,
            home_source=str(base / "arc/home/ada"),
            projects=((str(base / "arc/projects/demo"), "/arc/projects/demo"),),
            scratch_source=str(base / "scratch/l1"),
            session_source=str(base / "run/l1/session"),
            system=system_entries(),
            read_only=(str(base / "envs/tool"),),
            passwd_source=str(base / "passwd"),
            group_source=str(base / "group"),
        ),
    )
    trial = made.run("/bin/true")
    allowed = "ermi" not in trial.stderr and "amespace" not in trial.stderr
    need("isolation", trial.returncode == 0 or allowed, f"allow it: {trial.stderr.strip()}")
    return made


def test_nobody_elses_files_are_there(sandbox: Sandbox) -> None:
    base = sandbox.base
    assert sandbox.out("ls /arc /arc/home /arc/projects").split() == [
        *("/arc:", "home", "projects"),
        *("/arc/home:", "ada"),
        *("/arc/projects:", "demo"),
    ]
    assert set(sandbox.out("ls /").split()) <= {
        *("arc", "bin", "dev", "etc", "files", "lib", "lib32", "lib64", "libx32", "proc", "run"),
        *("sbin", "scratch", "tmp", "usr", "var"),
    }
    assert sandbox.out("ls /run /tmp /var").split() == [
        "/run:",
        "canfar",
        "/tmp:",
        base.name,
        "/var:",
        "tmp",
    ]
    assert sandbox.out(f"find {base} -type f").split() == [f"{base}/envs/tool/bin/here"]
    hidden = [
        base / "hub",
        base / "arc/home/ben",
        "/root",
        "/home",
        "/sys",
        "/boot",
        "/opt",
        "/srv",
    ]
    for path in hidden:
        assert sandbox.run("/bin/ls", "-d", str(path)).returncode != 0


def test_the_users_own_files_are_where_they_belong(sandbox: Sandbox) -> None:
    files = "here /arc/projects/demo/here /scratch/here /run/canfar/here /files/home/here"
    assert sandbox.out(f"cat {files}") == (
        "arc/home/adaarc/projects/demoscratch/l1run/l1/sessionarc/home/ada"
    )
    assert sandbox.out("ls /files; ls /files/projects").split() == [
        *("home", "projects", "scratch"),
        "demo",
    ]
    sandbox.out("for d in . /arc/projects/demo /files/scratch /run/canfar; do touch $d/new; done")
    for name in ("arc/home/ada", "arc/projects/demo", "scratch/l1", "run/l1/session"):
        found = (sandbox.base / name / "new").stat()
        assert (found.st_uid, found.st_mode & 0o777) == (sandbox.uid, 0o640)


def test_nothing_else_can_be_written(sandbox: Sandbox) -> None:
    for place in ("/", "/arc", "/arc/home", "/arc/projects", "/files", "/run", "/usr", "/etc",
                  "/dev", "/var", f"{sandbox.base}/envs/tool"):  # fmt: skip
        done = sandbox.run("/bin/sh", "-c", f"touch {place}/new || mkdir {place}/new")
        assert done.returncode != 0, place
    for place in ("/etc/passwd", "/etc/group"):
        assert sandbox.run("/bin/sh", "-c", f": >> {place}").returncode != 0
    assert sandbox.run("/bin/mount", "-o", "remount,rw", "/").returncode != 0


def test_the_ids_are_the_users_and_nothing_can_be_gained(sandbox: Sandbox) -> None:
    lines = sandbox.out("cat /proc/self/status").splitlines()
    seen = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert seen["Uid"] == [str(sandbox.uid)] * 4
    assert seen["Gid"] == [str(sandbox.gid)] * 4
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(seen[name][0], 16) == 0, name
    assert seen["NoNewPrivs"] == ["1"]
    assert seen["Umask"] == ["0027"]
    if sandbox.view.setpriv:
        assert [int(group) for group in seen["Groups"]] == list(GROUPS)
        sandbox.view = replace(sandbox.view, groups=())
        assert sandbox.out("grep ^Groups: /proc/self/status").split() == ["Groups:"]
    assert sandbox.out("id -un; id -gn; hostname").split() == ["ada", "astronomers", "s1"]


def test_temporary_files_and_processes_are_its_own(sandbox: Sandbox) -> None:
    outside = Path("/tmp") / f"canfar-outside-{os.getpid()}"
    outside.touch()
    try:
        assert sandbox.run("/bin/ls", str(outside)).returncode != 0
    finally:
        outside.unlink()
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        assert (
            sandbox.out(f"echo x > {place}/new; cat {place}/new; stat -c %a {place}") == "x\n1777\n"
        )
        assert not (Path(place) / "new").exists()
    pids = [int(pid) for pid in sandbox.out("cd /proc; ls -d [0-9]*").split()]
    assert pids[0] == 1
    assert max(pids) < 20
    assert sandbox.run("/bin/kill", "-0", str(os.getpid() + 100000)).returncode != 0
    for kind in ("pid", "ipc", "uts", "mnt"):
        inside = sandbox.out(f"readlink /proc/self/ns/{kind}").strip()
        assert inside != str(Path(f"/proc/self/ns/{kind}").readlink())


def test_variables_and_statuses_pass_through(sandbox: Sandbox) -> None:
    assert sandbox.run("/usr/bin/env", "-0").stdout.split("\0")[:-1] == [
        "PATH=/usr/bin:/bin",
        "NAME=a=b\n'c'",
        "PWD=/arc/home/ada",
    ]
    assert sandbox.run("/bin/sh", "-c", "exit 7").returncode == 7
    assert sandbox.run("/bin/sh", "-c", "kill -KILL $$").returncode == 137
    hostile = ["$(touch /tmp/x)", "a b", "", "'\"\n"]
    assert sandbox.run("/usr/bin/printf", "%s\\0", *hostile).stdout.split("\0")[:-1] == hostile


def test_terminals_work(sandbox: Sandbox) -> None:
    code = "import pty, sys; sys.exit(pty.spawn(['/bin/sh', '-c', 'tty; set -m; echo jobs']) >> 8)"
    python = shutil.which("python3", path="/usr/bin")
    if python is None:
        pytest.skip("this host has no Python under /usr")
    done = sandbox.run(python, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["/dev/pts/0", "jobs"]


def test_an_environment_of_python_runs(sandbox: Sandbox, need: Need) -> None:
    prefix = sandbox.base / "venv"
    python = sys.executable if sandbox.user is None else public_python()
    need("isolation", python is not None, "install a Python that every user may run")
    make = [python or "", "-m", "venv", "--without-pip", "--symlinks", str(prefix)]
    subprocess.run(make, check=True)
    sandbox.view = replace(sandbox.view, read_only=python_roots([prefix]))
    code = "import ctypes, json, ssl, sys; print(sys.prefix, sys.version_info >= (3, 11))"
    done = sandbox.run(str(prefix / "bin" / "python"), "-I", "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{prefix} True\n"


def test_stopping_reaches_the_program_and_not_its_walls(
    sandbox: Sandbox, new_launch: Callable[..., Launch]
) -> None:
    launch = new_launch(supervisor_user=sandbox.user)
    code = "trap 'echo tidied; exit 5' TERM; setsid -f sleep 1000; echo ready; sleep 1000 & wait"
    owner = [sandbox.uid, sandbox.gid] if sandbox.user is None else None
    launch.order(*bwrap_argv(sandbox.view, ["/bin/sh", "-c", code]), cwd="/", log_owner=owner)
    supervisor = launch.running()
    program = launch.state.program
    assert program
    assert run.stop(launch.directory)
    assert supervisor.wait(timeout=60) == 0
    assert launch.log == "ready\ntidied\n"
    assert (launch.state.reason, launch.state.exit_code) == ("stopped", 5)
    assert not alive(program.pid)
    assert not launch.scratch.exists()


def test_a_killed_supervisor_takes_the_sandbox_along(
    sandbox: Sandbox, new_launch: Callable[..., Launch]
) -> None:
    launch = new_launch(supervisor_user=sandbox.user)
    name = f"canfar-test-{os.getpid()}"
    code = f"env -i setsid -f sh -c 'sleep 1000; : {name}'; echo ready; exec sleep 1000"
    launch.order(*bwrap_argv(sandbox.view, ["/bin/sh", "-c", code]), cwd="/")
    supervisor = launch.running()
    assert named(name)
    supervisor.kill()
    supervisor.wait()
    wait_for(lambda: not named(name), "the sandbox to end with its supervisor")
    assert launch.run() == run.FINISHED_FOR
    assert launch.state.reason == "supervisor_lost"


def named(name: str) -> list[Path]:
    """Find processes by a word of their command."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if name.encode() in path.read_bytes():
                found.append(path)
    return found
