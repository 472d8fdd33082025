"""The variables of the session manager on a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from canfar_spawner.kubernetes.sessions import manager_settings
from canfar_spawner.site.files import SettingError

TOKEN = {"CANFAR_SESSIONS_TOKEN": "t" * 40}


def test_arc_is_seen_only_where_it_is_named() -> None:
    assert manager_settings(TOKEN).arc is None
    named = manager_settings({**TOKEN, "CANFAR_SESSIONS_ARC": "/arc"})
    assert named.arc == Path("/arc")


def test_arc_must_be_a_whole_path() -> None:
    with pytest.raises(
        SettingError, match="CANFAR_SESSIONS_ARC must be a whole path, such as /arc"
    ):
        manager_settings({**TOKEN, "CANFAR_SESSIONS_ARC": "arc"})
