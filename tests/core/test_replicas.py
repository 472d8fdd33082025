"""Which batch jobs were asked for together."""

from __future__ import annotations

import pytest

from canfar_spawner.core.replicas import MARK, replica


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sim-1", ("sim", 1)),
        ("sim-64", ("sim", 64)),
        ("M 31 run-2-13", ("M 31 run-2", 13)),
        ("sim", None),
        ("sim-0", None),
        ("sim-01", None),
        ("-1", None),
        ("sim-123456", None),
        ("sim-1\n", None),
    ],
)
def test_the_number_at_the_end_is_the_replica(name: str, found: tuple[str, int] | None) -> None:
    assert replica(name, ("A", MARK)) == found


def test_a_number_alone_makes_no_replica() -> None:
    assert replica("ngc-1365", ()) is None
