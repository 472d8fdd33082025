"""What a hub of one machine keeps from start to start."""

from __future__ import annotations

import json
from pathlib import Path

from canfar_spawner.local.settings import LocalSettings, inner_ports, prepare_data


def test_inner_ports_stay_and_are_written_once(tmp_path: Path) -> None:
    """Hub and manager start at any moment: a file that is written again is empty for one of them."""
    settings = LocalSettings(
        data=tmp_path / "data", port=8000, host="127.0.0.1", password="", prepare=False
    )
    prepare_data(settings)
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
