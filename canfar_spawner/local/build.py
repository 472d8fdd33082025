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
    PAGES,
    PANEL,
    ROOT,
    Environment,
    Status,
    builders_file,
    cache,
    digest,
    has_current_lab,
    is_locked,
    is_ready,
    lab_stamp,
    location,
    lock_file,
    node_directory,
    status,
    status_file,
)
from canfar_spawner.local.recipes import (
    INSTALL,
    BuildError,
    Job,
    build_environ,
    make,
    packages,
    web_command,
)

_MEGABYTE = 1_000_000
_PASSABLE = 0o555

Report = Callable[[str], None]


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


def _renew(source: Path, target: Path) -> None:
    """Bring back files that were removed, or that are those of another state of the checkout."""
    target.mkdir(exist_ok=True)
    for file in source.iterdir():
        known = target / file.name
        if not known.exists() or known.read_bytes() != file.read_bytes():
            partial = target / f".{file.name}.{os.getpid()}"
            shutil.copyfile(file, partial)
            partial.replace(known)


def _publish_pages() -> None:
    """Put the built pages where a hub of this checkout looks for them."""
    built = location("portal") / "static"
    if not built.is_dir():
        return
    for name, place in PAGES.items():
        _renew(location("portal") / name, ROOT / place)
    for name in ("hub", "test"):
        share = location(name) / "share" / "jupyterhub" / "static"
        if share.is_dir():
            # Copied, not linked: tornado serves nothing that lies outside its directory.
            shutil.copytree(built, share / "canfar", dirs_exist_ok=True)


def _add_lab(name: str) -> None:
    """Lay the platform's own part over an environment, in place of an older one."""
    source, target, stamp = location("lab"), location(name), lab_stamp(name)
    files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    files = [path for path in files if len(path.parts) > 1]
    try:
        before = {Path(each) for each in json.loads(stamp.read_text())["files"]}
    except (OSError, ValueError, KeyError):
        before = set()
    for file in files:
        place = target / file
        for above in [*file.parents][-2::-1]:
            (target / above).mkdir(exist_ok=True)
            _make_passable(target / above)
        # Replaced whole, for sessions run from here.
        partial = place.with_name(f".{place.name}.{os.getpid()}")
        shutil.copyfile(source / file, partial)
        partial.chmod(0o644)
        partial.replace(place)
    for old in before - set(files):
        (target / old).unlink(missing_ok=True)
    partial = stamp.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({"digest": digest("lab"), "files": [*map(str, files)]}))
    partial.chmod(0o644)
    partial.replace(stamp)


def _publish_lab(report: Report) -> None:
    """Put the platform's own part beside each JupyterLab that is there."""
    if not is_ready("lab"):
        return
    with _locked("lab", report):
        # Images are made from this checkout, and a wheel too.
        shutil.rmtree(ROOT / PANEL, ignore_errors=True)
        panel = location("lab") / "share" / "jupyter" / "labextensions" / "canfar-hub"
        shutil.copytree(panel, ROOT / PANEL, ignore=shutil.ignore_patterns("install.json"))
        for name, environment in ENVIRONMENTS.items():
            if environment.has_lab and is_ready(name) and not has_current_lab(name):
                _add_lab(name)


def _make_passable(directory: Path) -> None:
    """Let sessions of other users pass through."""
    if directory.stat().st_mode & _PASSABLE != _PASSABLE:
        directory.chmod(0o755)


def _build(job: Job) -> None:
    shutil.rmtree(job.target, ignore_errors=True)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    try:
        make(job)
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
        with_lab = any(ENVIRONMENTS[name].has_lab for name in names)
        wanted = dict.fromkeys(["tools", *(["lab"] if with_lab else []), *names])
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
        _publish_lab(report)


def _prepare_all(missing: Sequence[Environment], report: Report) -> None:
    left = float(sum(environment.seconds for environment in missing))
    unreached: list[BuildError] = []
    for step, environment in enumerate(missing, start=1):
        report(
            f"step {step} of {len(missing)}: {environment.title}"
            f" ({environment.size_mb} MB), {_about(left)} left"
        )
        with _locked(environment.name, report) as lock:
            if not is_ready(environment.name):
                try:
                    _prepare_one(environment, lock, step, len(missing))
                except BuildError as error:
                    if not environment.fetched:
                        raise
                    unreached.append(error)
        left -= environment.seconds
    if unreached:
        raise unreached[0]


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
        _build(Job(environment, location(name), log, lock))
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


def _yarn(*words: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    environ = build_environ()
    environ["PATH"] = f"{node_directory()}:{environ.get('PATH', '')}"
    return subprocess.run(
        web_command(*words),
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        check=False,
    )


def _install_packages() -> None:
    """Put the packages that checks and tests use in place, unless they are.

    The pages may have been built in another checkout, and taken from the cache.

    Raises
    ------
    BuildError
    """
    state, wanted = ROOT / "node_modules" / ".yarn-state.yml", ROOT / "yarn.lock"
    with packages():
        if state.exists() and state.stat().st_mtime >= wanted.stat().st_mtime:
            return
        done = _yarn(*INSTALL, quiet=True)
        if done.returncode:
            raise BuildError(f"The packages could not be put in place.\n{done.stdout[-2000:]}")


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
    commands.add_parser("packages", help="put what package.json names in place")
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
            case "packages":
                _install_packages()
            case "web":
                _install_packages()
                return _yarn("run", arguments.script).returncode
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
