"""``canfar-hub check``, ``schema`` and ``types``, and a hub that is given broken files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from canfar_spawner.core.view import typescript
from canfar_spawner.site.policy import policy_schema
from tests.support.hub import ROOT, free_port

CANFAR_HUB = Path(sys.executable).parent / "canfar-hub"
CATALOGUE = ROOT / "hub_config" / "catalogue.yaml"
USERS = ROOT / "hub_config" / "users.yaml"


def canfar_hub(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CANFAR_HUB), *arguments],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_files_of_this_project_pass() -> None:
    done = canfar_hub("check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 containers" in done.stdout


def test_mistakes_of_both_files_are_printed_and_counted(tmp_path: Path) -> None:
    catalogue, users = tmp_path / "catalogue.yaml", tmp_path / "users.yaml"
    catalogue.write_text(
        CATALOGUE.read_text()
        .replace("interactive: 3", "interactiv: 3")
        .replace("limits:", "limts:")
    )
    users.write_text("users: {ada: {uid: 20001, grups: []}, ben: {uid: 1}}\n")
    done = canfar_hub("check", "--catalogue", str(catalogue), "--users", str(users))
    assert done.returncode == 1
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert f"{catalogue}: limts: there is no such key; did you mean limits?" in lines
    assert f"{users}: users.ada.grups: there is no such key; did you mean groups?" in lines
    assert any(line.startswith(f"{users}: users.ben.uid: ") for line in lines)
    assert lines[-1] == "3 mistakes"


def test_groups_that_the_users_file_lacks_are_found(tmp_path: Path) -> None:
    users = tmp_path / "users.yaml"
    users.write_text("groups: {demo: 30001}\nusers: {ada: {uid: 20001, groups: [demo]}}\n")
    done = canfar_hub("check", "--users", str(users))
    assert done.returncode == 1
    assert "the project survey needs the group survey" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 mistake"


def test_the_schema_is_printed() -> None:
    done = canfar_hub("schema")
    assert done.returncode == 0
    assert json.loads(done.stdout) == policy_schema()


def test_the_types_are_printed() -> None:
    done = canfar_hub("types")
    assert done.returncode == 0
    assert done.stdout == typescript()


@pytest.mark.parametrize(
    ("which", "text", "words"),
    [
        ("CATALOGUE", "limts: {}\n", "limts: there is no such key; did you mean limits?"),
        ("CATALOGUE", "catalogue: [\n", "line 2: "),
        ("USERS", "users: {ada: {uid: 0}}\n", "users.ada.uid: "),
    ],
)
def test_a_hub_with_a_broken_file_does_not_start(
    tmp_path: Path, which: str, text: str, words: str
) -> None:
    broken, data = tmp_path / "broken.yaml", tmp_path / "data"
    broken.write_text(text)
    done = canfar_hub(
        "run",
        CANFAR_HUB_DATA=str(data),
        CANFAR_HUB_PORT=str(free_port()),
        CANFAR_HUB_PREPARE="none",
        **{f"CANFAR_HUB_{which}": str(broken)},
    )
    assert done.returncode == 2
    assert f"{broken}: {words}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not data.exists(), "nothing was made before the files were known to be right"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CANFAR_HUB_PORT", "80a"),
        ("CANFAR_HUB_PORT", "70000"),
        ("CANFAR_HUB_HOST", "0.0.0.0"),  # noqa: S104 - it is refused
        ("CANFAR_HUB_HOST", "evil.example"),
        ("CANFAR_HUB_PREPARE", "some"),
        ("CANFAR_HUB_PASSWORD", "short"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, variable: str, value: str) -> None:
    environ = {"CANFAR_HUB_DATA": str(tmp_path / "data"), variable: value}
    done = canfar_hub("run", **environ)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert variable in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("reconcile", "--check"), "There is no hub in"),
        (("reconcile", "--check", "--hub", "http://127.0.0.1:9"), "token of an administrator"),
        (("reconcile",), "--check"),
    ],
)
def test_what_cannot_be_compared_is_said(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = canfar_hub(*arguments, CANFAR_HUB_DATA=str(tmp_path), JUPYTERHUB_API_TOKEN="")
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [], "to look makes nothing"
