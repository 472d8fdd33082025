"""Attempts to get out of the areas by being quick: what is looked at is replaced meanwhile."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from canfar_lab.storage import entries
from canfar_lab.storage.areas import Areas
from canfar_lab.storage.errors import Refused, from_os_error
from canfar_lab.storage.folders import Folders
from canfar_lab.storage.pages import page

from tests.lab.fence import SECRET, delete, read, untouched
from tests.support.lab_server import Storage


class Swaps:
    """Somebody who replaces a folder or a file by a link outwards and back, as fast as she can."""

    def __init__(self, change: Callable[[], None]) -> None:
        self._change = change
        self._stop = threading.Event()
        self.count = 0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._change()
            self.count += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def exchange(one: Path, other: Path) -> Callable[[], None]:
    """Give what exchanges two names again and again."""
    spare = one.with_name(f"{one.name}.spare")

    def change() -> None:
        one.rename(spare)
        other.rename(one)
        spare.rename(other)

    return change


def test_a_folder_that_becomes_a_link_leads_nowhere(storage: Storage, areas: Areas) -> None:
    inside = storage.home / "inside"
    inside.mkdir()
    (inside / "secret").write_text("hers")
    outside = storage.home / "outside"
    outside.symlink_to("../ben")
    seen: dict[str, int] = {}
    with Swaps(exchange(inside, outside)) as swaps:
        deadline = time.monotonic() + 300
        while (swaps.count < 5000 or sum(seen.values()) < 5000) and time.monotonic() < deadline:
            try:
                text = read(areas, "home", "inside/secret").decode()
            except Refused as refused:
                text = refused.code
            seen[text] = seen.get(text, 0) + 1
            with suppress(Refused):
                found = page(Folders(), areas, {"area": "home", "path": "inside"})
                sizes = dict(zip(found["names"], found["sizes"], strict=True))
                assert set(sizes) <= {"secret", "made"}
                assert sizes["secret"] in {len("hers"), -1}
            with suppress(Refused):
                entries.make_folder(areas, "home", "inside/made")
            delete(areas, "home", "inside/made")
            delete(areas, "home", "outside/secret-of-nobody")
    assert SECRET not in seen
    assert swaps.count >= 5000
    assert seen.get("hers"), seen
    assert len(seen) > 1, seen
    untouched(storage)


def test_a_file_that_becomes_a_link_is_not_read(storage: Storage, areas: Areas) -> None:
    file = storage.home / "file"
    file.write_text("hers")
    link = storage.home / "link"
    link.symlink_to("../ben/secret")
    place = areas.locate("home", "file")
    seen: dict[str, int] = {}
    with Swaps(exchange(file, link)) as swaps:
        deadline = time.monotonic() + 300
        while (swaps.count < 5000 or sum(seen.values()) < 5000) and time.monotonic() < deadline:
            try:
                # Found once, opened a thousand times: whoever found it has no more rights.
                with os.fdopen(place.open_file(os.O_RDONLY), "rb") as opened:
                    text = opened.read().decode()
            except OSError as error:
                text = from_os_error(error, "file").code
            seen[text] = seen.get(text, 0) + 1
    assert SECRET not in seen
    assert set(seen) <= {"hers", "changed", "not-found"}
    assert seen.get("hers"), seen


def test_a_tree_that_is_deleted_takes_nothing_with_it(storage: Storage, areas: Areas) -> None:
    chance = random.Random(8)  # noqa: S311 - which folders there are
    for turn in range(30):
        tree = storage.home / f"tree{turn}"
        for _ in range(10):
            below = tree / str(chance.randrange(4)) / str(chance.randrange(4))
            below.mkdir(parents=True, exist_ok=True)
            (below / "file").touch()
        victim = next(path for path in tree.iterdir() if path.is_dir())
        decoy = tree / "decoy"
        decoy.symlink_to("../../ben")
        with Swaps(_tolerant(exchange(victim, decoy))):
            delete(areas, "home", tree.name)
    untouched(storage)


def _tolerant(change: Callable[[], None]) -> Callable[[], None]:
    def tried() -> None:
        with suppress(OSError):
            change()

    return tried


def test_a_name_is_never_taken_from_another_file(storage: Storage, areas: Areas) -> None:
    """Two files race for one name: one gets it, and both are still there."""
    for turn in range(200):
        for name in ("a", "b"):
            (storage.home / f"{name}{turn}").write_text(name)
        taken: list[str] = []

        def rename(name: str, turn: int = turn, taken: list[str] = taken) -> None:
            with suppress(Refused):
                entries.rename(areas, "home", f"{name}{turn}", f"won{turn}")
                taken.append(name)

        threads = [threading.Thread(target=rename, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(taken) == 1
        loser = "b" if taken == ["a"] else "a"
        assert (storage.home / f"won{turn}").read_text() == taken[0]
        assert (storage.home / f"{loser}{turn}").read_text() == loser
