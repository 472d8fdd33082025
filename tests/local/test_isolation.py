from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typing_extensions

from canfar_spawner.local import isolation
from canfar_spawner.local.isolation import probe, python_roots, system_entries
from tests.support.launch import NOBODY, PACKAGE, public_python

Need = Callable[[str, bool, str], None]
Prober = Callable[..., dict[str, str]]


@pytest.fixture(params=["itself", "plain"])
def prober(request: pytest.FixtureRequest, base: Path, need: Need) -> Prober:
    """Give a way to probe as these tests' user, and as a plain one."""
    if request.param == "itself":
        return lambda **given: {
            name: getattr(probe(**given), name) for name in ("kind", "reason", "bwrap", "setpriv")
        }
    need("isolation", os.geteuid() == 0, "run these tests as root to cover other users")
    python = public_python()
    need("isolation", python is not None, "install a Python that every user may run")
    for name in ("__init__.py", "local/__init__.py", "local/isolation.py", "local/sandbox.py"):
        (base / PACKAGE.name / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / name, base / PACKAGE.name / name)
    # The one module of others that these two take, and which is one file.
    shutil.copy(typing_extensions.__file__, base)
    words = (
        f"import sys, json, dataclasses; sys.path.insert(0, {str(base)!r})\n"
        "from canfar_spawner.local.isolation import probe\n"
        "print(json.dumps(dataclasses.asdict(probe(**json.loads(sys.argv[1])))))"
    )

    def as_nobody(**given: str) -> dict[str, str]:
        done = subprocess.run(
            [python or "", "-I", "-B", "-c", words, json.dumps(given)],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            check=True,
        )
        found: dict[str, str] = json.loads(done.stdout)
        return found

    return as_nobody


def without(request: pytest.FixtureRequest) -> str:
    root = request.node.callspec.params["prober"] == "itself" and os.geteuid() == 0
    return "uids" if root else "none"


def test_it_is_found_by_trying(prober: Prober, need: Need) -> None:
    found = prober()
    need("isolation", found["kind"] == "bubblewrap", found["reason"])
    assert found["bwrap"] == shutil.which("bwrap")
    assert found["reason"].endswith(".")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("echo 'bwrap: No permissions to create new namespace' >&2; exit 1", "No permissions"),
        ("exit 3", "status 3"),
        ("exit 0", "status 0"),
        ('while [ "$1" != -- ]; do shift; done; shift; exec "$@"', "files/home/written"),
    ],
)
def test_what_does_not_keep_apart_is_not_taken_for_it(
    request: pytest.FixtureRequest, prober: Prober, base: Path, content: str, why: str
) -> None:
    broken = base / "bwrap"
    broken.write_text(f"#!/bin/sh\n{content}\n")
    broken.chmod(0o755)
    found = prober(bwrap=str(broken))
    assert found["kind"] == without(request)
    assert why in found["reason"]
    assert found["bwrap"] == ""


def test_a_program_that_is_not_there_is_told(
    request: pytest.FixtureRequest, prober: Prober
) -> None:
    found = prober(bwrap="/no/such/bwrap")
    assert found["kind"] == without(request)
    assert "/no/such/bwrap: No such file" in found["reason"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges that could be kept")
def test_privileges_that_are_kept_are_noticed(base: Path) -> None:
    keeps = base / "setpriv"
    keeps.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n')
    keeps.chmod(0o755)
    found = probe(setpriv=str(keeps))
    assert found.kind == "uids"


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("Uid:\t7 7 7 7\nCapEff:\t0\nCapPrm:\t0\nNoNewPrivs:\t1", ""),
        ("Uid:\t7 0 7 7\nCapEff:\t0\nCapPrm:\t0\nNoNewPrivs:\t1", "its own user"),
        ("Uid:\t7 7 7 7\nCapEff:\t1\nCapPrm:\t1\nNoNewPrivs:\t1", "privileges of the hub"),
        ("Uid:\t7 7 7 7\nCapEff:\t0\nCapPrm:\t0\nNoNewPrivs:\t0", "gain privileges"),
    ],
)
def test_what_a_trial_tells_is_judged(status: str, why: str) -> None:
    judged = isolation._privileges(status, 7)
    assert why in judged
    assert bool(judged) == bool(why)


def test_the_system_is_as_the_host_has_it() -> None:
    for entry in system_entries():
        path = Path(entry.path)
        assert path.exists()
        if entry.target is not None:
            assert str(path.readlink()) == entry.target
        else:
            assert not path.is_symlink()
    assert {"/bin", "/lib"} <= {entry.path for entry in system_entries()}


def test_name_servers_outside_etc_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stub.conf").write_text("nameserver 127.0.0.53\n")
    (tmp_path / "resolv.conf").symlink_to("stub.conf")
    monkeypatch.setattr(isolation, "_RESOLVER", tmp_path / "resolv.conf")
    last = system_entries()[-1]
    assert (last.path, last.target) == (str(tmp_path / "stub.conf"), None)


def installation(prefix: Path) -> Path:
    """Make what looks like an installation of Python and give its interpreter."""
    (prefix / "lib" / "python3.11").mkdir(parents=True)
    (prefix / "lib" / "python3.11" / "os.py").touch()
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python3.11").touch()
    (prefix / "bin" / "python3").symlink_to("python3.11")
    return prefix / "bin" / "python3"


def environment(prefix: Path, python: Path) -> Path:
    """Make what looks like a virtual environment."""
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python").symlink_to(python)
    (prefix / "pyvenv.cfg").write_text(f"home = {python.parent}\nversion = 3.11.7\n")
    return prefix


def test_every_step_to_the_interpreter_is_given(tmp_path: Path) -> None:
    real = tmp_path / "real"
    installation(real)
    (tmp_path / "current").symlink_to("real")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "python3").symlink_to("../current/bin/python3")
    found = environment(tmp_path / "venv", tmp_path / "tools" / "python3")
    assert set(python_roots([found])) == {
        str(tmp_path / "venv"),
        str(real),
        str(tmp_path / "tools" / "python3"),
        str(tmp_path / "current"),
    }


def test_a_linked_environment_is_given_under_both_names(tmp_path: Path) -> None:
    installation(tmp_path / "base")
    environment(tmp_path / "venv", tmp_path / "base" / "bin" / "python3")
    (tmp_path / "named").symlink_to("venv")
    assert set(python_roots([tmp_path / "named"])) == {
        str(tmp_path / name) for name in ("base", "venv", "named")
    }


def test_nothing_is_given_twice(tmp_path: Path) -> None:
    python = installation(tmp_path / "base")
    inner = environment(tmp_path / "base" / "envs" / "one", python)
    second = environment(tmp_path / "two", python)
    assert python_roots([inner, second]) == (str(tmp_path / "base"), str(tmp_path / "two"))
    assert python_roots([]) == ()


def test_a_home_is_never_shown_for_the_python_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    python = installation(home)
    monkeypatch.setenv("HOME", str(home))
    found = python_roots([environment(tmp_path / "venv", python)])
    assert set(found) == {str(home / "bin"), str(home / "lib"), str(tmp_path / "venv")}


def test_an_interpreter_of_the_system_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to("/usr/bin/env")
    (tmp_path / "venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    assert python_roots([tmp_path / "venv"]) == (str(tmp_path / "venv"),)


def test_the_running_interpreter_is_covered() -> None:
    roots = python_roots([Path(sys.prefix)])
    base = Path(sys.base_prefix).resolve()
    assert base.is_relative_to("/usr") or any(base.is_relative_to(root) for root in roots)
