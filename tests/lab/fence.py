"""Areas with secrets around them, and what is asked of them by those who want to get out."""

from __future__ import annotations

import os
from pathlib import Path

from canfar_lab.storage.areas import Areas
from canfar_lab.storage.errors import from_os_error
from canfar_lab.storage.work import Work

from tests.support.lab_server import Storage

SECRET = "only somebody else may read this"


def fenced(tmp_path: Path) -> Storage:
    """Give areas with a secret beside, above and below each."""
    made = Storage(tmp_path / "world")
    for directory in (
        made.base,
        made.base / "arc",
        made.base / "arc" / "home",
        made.base / "arc" / "home" / "ada-other",
        made.base / "arc" / "home" / "ben",
        made.projects / "foreign",
        made.base / "scratch-other",
    ):
        directory.mkdir(exist_ok=True)
        (directory / "secret").write_text(SECRET)
    (made.home / "mine").mkdir()
    (made.home / "mine" / "file").write_text("hers")
    return made


def read(areas: Areas, area: str, path: str) -> bytes:
    """Read a file, as whoever reads files of an area does."""
    try:
        place = areas.locate(area, path)
        file = place.open_file(os.O_RDONLY)
    except OSError as error:
        raise from_os_error(error, path) from None
    with os.fdopen(file, "rb") as opened:
        return opened.read()


def untouched(storage: Storage) -> None:
    """See that what lies outside is as it was, and that nothing was put there."""
    outside = [
        path
        for path in storage.base.rglob("*")
        if not any(
            path == root or path.is_relative_to(root)
            for root in (
                storage.home,
                storage.scratch,
                *(storage.projects / name for name in storage.projects_mine),
            )
        )
    ]
    secrets = [path for path in outside if path.is_file()]
    assert len(secrets) == 7
    assert {path.name for path in secrets} == {"secret"}
    assert {path.read_text() for path in secrets} == {SECRET}
    directories = {path.name for path in outside if path.is_dir()}
    assert directories == {
        "arc",
        "home",
        "ada-other",
        "ben",
        "projects",
        "foreign",
        "scratch-other",
    }


def delete(areas: Areas, area: str, path: str) -> list[str]:
    told: list[str] = []
    Work(areas, told.append).run({"what": "delete", "area": area, "paths": [path]})
    return told
