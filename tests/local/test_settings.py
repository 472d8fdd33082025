"""What a hub of one machine keeps from start to start."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from canfar_spawner.local.settings import (
    LocalSettings,
    demo_password,
    inner_ports,
    prepare_data,
    sessions_service,
)
from canfar_spawner.site.files import SettingError

MAKERS = 4
ROUNDS = 25


def _settings(data: Path, password: str = "") -> LocalSettings:
    settings = LocalSettings(
        data=data, port=8000, host="127.0.0.1", password=password, prepare=False
    )
    prepare_data(settings)
    return settings


def test_inner_ports_stay_and_are_written_once(tmp_path: Path) -> None:
    """Hub and manager start at any moment: a file that is written again is empty for one of them."""
    settings = _settings(tmp_path / "data")
    ports = inner_ports(settings)
    path = settings.hub / "ports.json"
    written = path.stat().st_mtime_ns
    assert inner_ports(settings) == ports
    assert path.stat().st_mtime_ns == written
    path.write_text(json.dumps(ports[:2]))
    assert inner_ports(settings)[:2] == ports[:2], (
        "one that an earlier version did not know is added"
    )
    assert len(json.loads(path.read_text())) == 3


KEPT: dict[str, Callable[[LocalSettings], object]] = {
    "password": demo_password,
    "ports.json": inner_ports,
    "sessions_token": lambda settings: sessions_service(settings).token,
}


@pytest.mark.parametrize("name", KEPT)
def test_those_who_make_something_at_the_same_time_agree(tmp_path: Path, name: str) -> None:
    for number in range(ROUNDS):
        settings = _settings(tmp_path / str(number))
        with ThreadPoolExecutor(MAKERS, initializer=threading.Barrier(MAKERS).wait) as pool:
            made = set(pool.map(KEPT[name], [settings] * MAKERS))
        assert made == {KEPT[name](settings)}
        assert stat.S_IMODE((settings.hub / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "\n", " \n\n", "\udcff"])
@pytest.mark.parametrize("name", KEPT)
def test_a_file_with_nothing_in_it_is_as_good_as_none(tmp_path: Path, name: str, text: str) -> None:
    """A full disk leaves such, and an empty password would let everybody in."""
    settings = _settings(tmp_path / "data")
    (settings.hub / name).write_bytes(text.encode(errors="surrogateescape"))
    made = KEPT[name](settings)
    assert made
    assert KEPT[name](settings) == made
    assert (settings.hub / name).read_text().strip()


def test_a_password_of_ones_own_takes_the_place_of_what_was_kept(tmp_path: Path) -> None:
    first = demo_password(_settings(tmp_path / "data"))
    assert len(first) >= 8
    assert demo_password(_settings(tmp_path / "data", "a password")) == "a password"
    assert demo_password(_settings(tmp_path / "data")) == "a password"


def test_what_cannot_be_kept_is_said_by_its_name(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "data")
    (settings.hub / "password").mkdir()
    with pytest.raises(SettingError, match=r"cannot be used: .*/password: Is a directory\.$"):
        demo_password(settings)


@pytest.mark.parametrize("blank", [" " * 8, "\t" * 20, "  abcdefg  "])
def test_blanks_do_not_count_as_a_password(blank: str) -> None:
    with pytest.raises(SettingError, match=r"^CANFAR_HUB_PASSWORD must have at least 8 characters"):
        LocalSettings.read({"CANFAR_HUB_PASSWORD": blank})
    assert LocalSettings.read({"CANFAR_HUB_PASSWORD": "  abcdefgh\n"}).password == "abcdefgh"
    assert LocalSettings.read({"CANFAR_HUB_PASSWORD": ""}).password == ""
