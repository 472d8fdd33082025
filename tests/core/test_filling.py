"""How full homes and projects are shown to be."""

from __future__ import annotations

from datetime import timedelta

from canfar_spawner.core.filling import Measured, Place, filling, latest, places
from canfar_spawner.core.storage import Area, AreaPolicy, Persistence, StoragePolicy
from tests.core.world import ADA, NOW

GB = 2**30


def place(quota_gb: int | None = None) -> Place:
    policy = AreaPolicy(persistence=Persistence.KEPT, quota_gb=quota_gb)
    return Place(area=Area.HOME, name="ada", path="/arc/home/ada", promised=policy)


def test_the_home_comes_first_and_then_the_projects_by_name() -> None:
    policy = StoragePolicy(projects=AreaPolicy(persistence=Persistence.BACKED_UP, quota_gb=200))
    found = places(ADA, policy)
    assert [each.path for each in found] == [
        "/arc/home/ada",
        *(f"/arc/projects/{name}" for name in sorted(ADA.projects)),
    ]
    assert found[1].promised.persistence is Persistence.BACKED_UP


def test_what_was_never_measured_is_not_known() -> None:
    found = filling(place(10), None, known=False)
    assert (found.used, found.limit, found.at, found.known, found.full) == (
        None,
        None,
        None,
        False,
        False,
    )


def test_the_file_systems_quota_counts_before_the_sites_promise() -> None:
    measured = Measured(at=NOW, used=GB, quota=5 * GB)
    assert filling(place(10), measured, known=True).limit == 5 * GB
    assert filling(place(10), Measured(at=NOW, used=GB), known=True).limit == 10 * GB
    assert filling(place(), Measured(at=NOW, used=GB), known=True).limit is None


def test_above_nine_tenths_it_is_full() -> None:
    for used in (0, 9 * GB):
        assert not filling(place(10), Measured(at=NOW, used=used), known=True).full
    for used in (9 * GB + 1, 10 * GB, 12 * GB):
        assert filling(place(10), Measured(at=NOW, used=used), known=True).full


def test_a_disk_that_is_fuller_than_the_quota_is_told_of() -> None:
    roomy = Measured(at=NOW, used=GB, disk=1000 * GB, free=500 * GB)
    assert filling(place(10), roomy, known=True).free is None, "the quota is what ends first"
    tight = Measured(at=NOW, used=GB, disk=1000 * GB, free=2 * GB)
    found = filling(place(10), tight, known=True)
    assert found.free == 2 * GB
    assert found.full, "the disk is, whatever the quota"
    without = filling(place(), roomy, known=True)
    assert (without.free, without.full) == (500 * GB, False)


def test_a_measurement_that_says_how_much_counts_before_a_later_one_that_does_not() -> None:
    early = Measured(at=NOW, used=GB)
    late = Measured(at=NOW + timedelta(minutes=1), disk=10 * GB, free=GB)
    later = Measured(at=NOW + timedelta(minutes=2), used=2 * GB)
    assert latest(None, early, late) is early
    assert latest(early, later, late) is later
    assert latest(None, late) is late
    assert latest() is None
