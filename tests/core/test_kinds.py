from __future__ import annotations

import pytest

from canfar_spawner.core.kinds import KINDS, Entry, IdleRule, SessionKind


def test_every_kind_is_described() -> None:
    assert set(KINDS) == set(SessionKind)
    assert [kind.value for kind in SessionKind] == [
        "notebook",
        "desktop",
        "carta",
        "firefly",
        "contributed",
        "headless",
    ]


@pytest.mark.parametrize("kind", SessionKind)
def test_descriptions_hold_together(kind: SessionKind) -> None:
    spec = KINDS[kind]
    assert spec.modes
    assert spec.interactive == (kind is not SessionKind.HEADLESS)
    assert spec.has_command == (not spec.interactive)
    assert spec.ready_path.startswith("/") == spec.interactive
    assert (spec.idle is IdleRule.NEVER) == (not spec.interactive)
    assert spec.port is None or 1024 < spec.port < 65536


def test_only_jupyter_answers_for_itself() -> None:
    direct = {kind for kind, spec in KINDS.items() if spec.entry is Entry.DIRECT}
    assert direct == {SessionKind.NOTEBOOK, SessionKind.HEADLESS}


def test_titles_are_distinct() -> None:
    assert len({spec.title for spec in KINDS.values()}) == len(KINDS)
