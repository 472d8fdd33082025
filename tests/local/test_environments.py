"""The building of local environments: real ones, of a package that a test can hold up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from canfar_spawner.local import build, environments
from tests.support.hub import ROOT, wait_for

BACKEND = """
import os, pathlib, time, zipfile
place = pathlib.Path(__file__).parent

def build_wheel(wheels, settings=None, metadata=None):
    with (place / "builds").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    if (place / "broken").exists():
        raise SystemExit("the backend says: it is broken")
    deadline = time.monotonic() + 60
    while (place / "hold").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    name = "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheels) / name, "w") as wheel:
        wheel.writestr("tiny.py", "VALUE = 42\\n")
        info = "tiny-1.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny"
version = "1.0"
"""
ASK = """
import json, sys
from dataclasses import asdict
from canfar_spawner.local import environments
for name in sys.argv[1:]:
    print(json.dumps(asdict(environments.status(name))))
"""


class Checkout:
    """A small checkout whose images hold one package, with a cache of its own."""

    def __init__(self, base: Path) -> None:
        self.root, self.cache = base / "checkout", base / "cache"
        self.tiny = base / "tiny"
        local = self.root / "canfar_spawner" / "local"
        local.mkdir(parents=True)
        for name in ("__init__.py", "local/__init__.py", "local/build.py", "local/environments.py"):
            shutil.copy(ROOT / "canfar_spawner" / name, self.root / "canfar_spawner" / name)
        (self.root / "constraints.txt").write_text("tiny==1.0\n")
        for name in ("notebook", "astroml", "casa"):
            folder = self.root / "images" / name
            folder.mkdir(parents=True)
            (folder / "requirements.txt").write_text(f"tiny @ {self.tiny.as_uri()}\n")
        self.tiny.mkdir()
        (self.tiny / "backend.py").write_text(BACKEND)
        (self.tiny / "pyproject.toml").write_text(PYPROJECT)
        tools = environments.location("tools")
        (self.cache / "envs").mkdir(parents=True)
        (self.cache / "envs" / tools.name).symlink_to(tools)

    def _arguments(self, words: tuple[str, ...], umask: int) -> dict[str, Any]:
        return {
            "args": words,
            "cwd": self.root,
            "env": {
                **os.environ,
                "CANFAR_HUB_CACHE": str(self.cache),
                "UV_CACHE_DIR": str(self.cache / "downloads"),
                "UV_OFFLINE": "1",
                "UV_NO_CACHE": "1",
            },
            "umask": umask,
            "text": True,
            "stderr": subprocess.PIPE,
            "stdout": subprocess.PIPE,
        }

    def start(self, *words: str, umask: int = 0o022) -> subprocess.Popen[str]:
        command = (sys.executable, "-m", "canfar_spawner.local.build", *words)
        return subprocess.Popen(**self._arguments(command, umask))

    def run(self, *words: str, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
        process = self.start(*words, umask=umask)
        output, errors = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    def path(self, name: str) -> Path:
        return Path(self.run("path", name).stdout.strip())

    def status(self, name: str) -> dict[str, Any]:
        done = subprocess.run(
            **self._arguments((sys.executable, "-c", ASK, name), 0o022), check=True
        )
        return dict(json.loads(done.stdout))

    def builds(self) -> list[int]:
        path = self.tiny / "builds"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def hold(self) -> None:
        (self.tiny / "hold").touch()

    def release(self) -> None:
        (self.tiny / "hold").unlink(missing_ok=True)

    def held_builder(self, *names: str) -> subprocess.Popen[str]:
        """Start a builder and wait until its package is being made."""
        before = len(self.builds())
        self.hold()
        builder = self.start("prepare", *names)
        wait_for(lambda: len(self.builds()) > before, "the package to be made")
        return builder


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    if not environments.is_ready("tools"):
        pytest.skip("the environment tools is not built; get it with: make environments")
    made = Checkout(tmp_path / "base")
    yield made
    made.release()


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_what_is_built_is_ready_and_is_not_built_again(checkout: Checkout) -> None:
    assert checkout.status("notebook")["state"] == "absent"
    done = checkout.run("prepare", "notebook")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("step 1 of 1: Notebook (")
    python = checkout.path("notebook") / "bin" / "python"
    code = "import tiny; print(tiny.VALUE)"
    told = subprocess.run([python, "-c", code], capture_output=True, check=True)
    assert told.stdout == b"42\n"
    assert checkout.status("notebook")["state"] == "ready"
    again = checkout.run("prepare", "notebook")
    assert (again.returncode, again.stderr) == (0, "")
    assert len(checkout.builds()) == 1


def test_other_users_can_run_it_whatever_the_umask(checkout: Checkout) -> None:
    assert checkout.run("prepare", "notebook", umask=0o077).returncode == 0
    made = checkout.path("notebook")
    for path in (checkout.cache, made.parent, made, *made.rglob("*")):
        if path.is_dir():
            assert path.stat().st_mode & 0o005 == 0o005, path
        elif path.name != ".complete":
            assert path.stat().st_mode & 0o004, path
    assert list(made.rglob("tiny.*.pyc")), "not compiled ahead: others cannot write there"


def test_a_digest_follows_what_an_environment_is_made_from(checkout: Checkout) -> None:
    names = ("notebook", "astroml", "casa")
    first = {name: checkout.path(name) for name in names}
    (checkout.root / "README.md").write_text("nothing to do with it")
    assert {name: checkout.path(name) for name in names} == first
    astroml = checkout.root / "images" / "astroml" / "requirements.txt"
    astroml.write_text(astroml.read_text() + "# more\n")
    second = {name: checkout.path(name) for name in names}
    assert [name for name in names if second[name] != first[name]] == ["astroml"]
    (checkout.root / "images" / "casa" / "casasiteconfig.py").write_text("")
    third = {name: checkout.path(name) for name in names}
    assert [name for name in names if third[name] != second[name]] == ["casa"]
    notebook = checkout.root / "images" / "notebook" / "requirements.txt"
    notebook.write_text("tiny\n")
    fourth = {name: checkout.path(name) for name in names}
    assert all(fourth[name] != third[name] for name in names)
    (checkout.root / "constraints.txt").write_text("tiny==1.1\n")
    assert all(checkout.path(name) != fourth[name] for name in names)


def test_a_bare_python_and_its_virtual_environment_agree() -> None:
    base = getattr(sys, "_base_executable", sys.executable)
    for name in ("hub", "astroml"):
        told = subprocess.run(
            [base, "-m", "canfar_spawner.local.build", "path", name],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.strip() == str(environments.location(name))


def test_a_module_of_an_image_is_installed_with_it(checkout: Checkout) -> None:
    (checkout.root / "images" / "casa" / "casasiteconfig.py").write_text("measurespath = 'x'\n")
    assert checkout.run("prepare", "casa").returncode == 0
    python = checkout.path("casa") / "bin" / "python"
    code = "import casasiteconfig as c; print(c.measurespath)"
    told = subprocess.run([python, "-c", code], capture_output=True, check=True)
    assert told.stdout == b"x\n"


def test_a_failure_is_told_and_leaves_nothing_half_built(checkout: Checkout) -> None:
    (checkout.tiny / "broken").touch()
    done = checkout.run("prepare", "notebook", "astroml")
    assert done.returncode == 1
    assert "Notebook could not be built. uv failed; the end of " in done.stderr
    assert "the backend says: it is broken" in done.stderr
    assert not checkout.path("notebook").exists()
    status = checkout.status("notebook")
    assert status["state"] == "failed"
    assert status["error"].startswith("uv failed")
    assert checkout.status("astroml")["state"] == "absent"
    (checkout.tiny / "broken").unlink()
    assert checkout.run("prepare", "--quiet", "notebook").returncode == 0
    assert checkout.status("notebook")["state"] == "ready"


def test_progress_is_told_while_it_is_built(checkout: Checkout) -> None:
    builder = checkout.held_builder("notebook", "astroml")
    status = checkout.status("notebook")
    assert (status["state"], status["step"], status["steps"]) == ("building", 1, 2)
    assert status["seconds_left"] > 0
    assert status["size_mb"] > 0
    assert checkout.status("astroml")["state"] == "waiting"
    checkout.release()
    assert builder.wait(timeout=60) == 0
    assert [checkout.status(name)["state"] for name in ("notebook", "astroml")] == ["ready"] * 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_build_leaves_nothing(checkout: Checkout, number: signal.Signals) -> None:
    builder = checkout.held_builder("notebook", "astroml")
    builder.send_signal(number)
    assert builder.wait(timeout=60) == 130
    wait_for(lambda: all(map(_gone, checkout.builds())), "the steps of the build to end")
    assert not checkout.path("notebook").exists()
    status = checkout.status("notebook")
    assert status["state"] == "failed"
    assert "interrupted" in status["error"]
    assert checkout.status("astroml")["state"] == "absent"
    checkout.release()
    assert checkout.run("prepare", "notebook").returncode == 0


def test_a_killed_builder_is_noticed_and_the_next_waits_for_its_remains(checkout: Checkout) -> None:
    builder = checkout.held_builder("notebook", "astroml")
    builder.kill()
    builder.wait(timeout=60)
    assert checkout.status("astroml")["state"] == "failed"
    second = checkout.start("prepare", "notebook")
    assert second.stderr is not None
    lines = iter(second.stderr.readline, "")
    assert "Notebook: somebody else builds it; waiting\n" in lines
    checkout.release()
    assert second.wait(timeout=60) == 0
    assert checkout.status("notebook")["state"] == "ready"


def test_two_builders_build_once(checkout: Checkout) -> None:
    first = checkout.held_builder("notebook")
    second = checkout.start("prepare", "notebook")
    assert second.stderr is not None
    assert "somebody else" in (second.stderr.readline() + second.stderr.readline())
    assert checkout.status("notebook")["state"] == "building"
    checkout.release()
    assert (first.wait(timeout=60), second.wait(timeout=60)) == (0, 0)
    assert len(checkout.builds()) == 1


def test_cleaning_removes_what_was_built_and_nothing_else(checkout: Checkout) -> None:
    home = checkout.root / "var" / "arc" / "home" / "ada"
    home.mkdir(parents=True)
    (home / "thesis.tex").write_text("precious")
    builder = checkout.held_builder("notebook")
    refused = checkout.run("clean")
    assert refused.returncode == 1
    assert refused.stderr == "Notebook is being built; end that before cleaning.\n"
    checkout.release()
    assert builder.wait(timeout=60) == 0
    made = checkout.path("notebook")
    assert checkout.run("clean").returncode == 0
    assert not made.exists()
    assert checkout.status("notebook")["state"] == "absent"
    assert (home / "thesis.tex").read_text() == "precious"
    assert environments.is_ready("tools"), "a link out of the cache was followed"


def test_too_little_room_is_refused_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANFAR_HUB_CACHE", str(tmp_path / "cache"))
    free = shutil._ntuple_diskusage(10**11, 10**11 - 10**9, 10**9)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: free)
    with pytest.raises(build.BuildError) as told:
        build.prepare(["casa"], report=lambda _line: None)
    assert f"{tmp_path / 'cache'} has 1000 MB free" in str(told.value)
    assert "CANFAR_HUB_CACHE" in str(told.value)
    assert not (tmp_path / "cache" / "envs").exists()
    assert environments.status("casa").state == "absent"


def test_the_cache_is_where_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("CANFAR_HUB_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert environments.cache() == Path("/home/ada/.cache/canfar-hub")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/ada")
    assert environments.cache() == Path("/var/cache/ada/canfar-hub")
    monkeypatch.setenv("CANFAR_HUB_CACHE", "/big/disk")
    assert environments.cache() == Path("/big/disk")
