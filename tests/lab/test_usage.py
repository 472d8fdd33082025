"""How full something is: what a file system that knows says, and what is said where none does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from canfar_lab.storage import usage as storage_usage
from canfar_lab.storage.areas import from_environment
from canfar_lab.storage.usage import quotas, usage

from tests.support.lab_server import Storage

LIMIT, USED = "user.quota.max_bytes", "user.dir.rbytes"


@pytest.fixture
def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Give directories that have, under names which any file system takes, what CephFS says."""
    monkeypatch.setattr(storage_usage, "_LIMIT", LIMIT)
    monkeypatch.setattr(storage_usage, "_USED", USED)
    told = {"home": {"arc": "/arc/home/ada"}, "projects": {"arc": "/arc/projects"}}
    storage = Storage(tmp_path, told=told)
    for path, limit, used in (
        (storage.home, b"1000", b"400"),
        (storage.projects / "survey", b"2000", b"2500"),
    ):
        try:
            os.setxattr(path, LIMIT, limit)
            os.setxattr(path, USED, used)
        except OSError:
            pytest.skip("this file system keeps no attributes of users")
    (storage.home / "m31").mkdir()
    return storage


def test_a_quota_is_that_of_the_nearest_folder_above(limited: Storage) -> None:
    areas = from_environment(limited.environ)
    for path in ("", "m31"):
        told = usage(areas, {"area": "home", "path": path})
        assert (told["of"], told["used"], told["limit"], told["free"]) == ("quota", 400, 1000, 600)
    over = usage(areas, {"area": "projects", "path": "survey"})
    assert (over["used"], over["limit"], over["free"]) == (2500, 2000, 0)
    assert usage(areas, {"area": "projects", "path": "demo"})["of"] == "disk"
    assert usage(areas, {"area": "projects"})["of"] == "unknown"


def test_what_is_told_of_quotas_is_by_the_paths_that_others_know(limited: Storage) -> None:
    assert quotas(from_environment(limited.environ)) == [
        {"path": "/arc/home/ada", "used": 400, "quota": 1000},
        {"path": "/arc/projects/survey", "used": 2500, "quota": 2000},
    ]
    assert quotas(from_environment({**limited.environ, "CANFAR_STORAGE": ""})) == []


def test_a_disk_that_others_fill_is_named_as_such(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    (storage.home / "one").write_bytes(bytes(10_000))
    told = usage(from_environment(storage.environ), {"area": "home"})
    assert (told["of"], told["used"], told["complete"]) == ("disk", 10_000, True)
    assert 0 < told["free"] < told["limit"]
