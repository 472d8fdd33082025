# ruff: noqa: ASYNC240 - nothing else runs in these loops
"""What the manager counts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from canfar_spawner.core.errors import Unavailable
from canfar_spawner.core.status import Evidence, Life, Phase, Reason
from canfar_spawner.manager.metrics import CONTENT_TYPE, Metrics
from canfar_spawner.manager.registry import Registry
from canfar_spawner.manager.store import Store
from tests.core.world import BEN, NOW
from tests.manager.parts import Parts
from tests.manager.recorded import job, recorded, session_id

LOG = logging.getLogger("tests.manager.metrics")


class Counted:
    """A registry, and what is counted of it."""

    def __init__(self, data: Path) -> None:
        self.store = Store(f"sqlite:///{data / 'sessions.sqlite'}", log=LOG)
        self.registry = Registry(self.store, clock=lambda: NOW, log=LOG)
        self.age = 1.5
        self.metrics = Metrics(
            self.registry,
            database_up=lambda: not self.store.problem,
            observed=lambda: self.age,
        )

    def read(self) -> dict[tuple[str, ...], float]:
        """Give every sample by its name and its labels' values."""
        return {
            (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
            for family in text_string_to_metric_families(self.metrics.text().decode())
            for sample in family.samples
        }

    def __getitem__(self, sample: tuple[str, ...]) -> float | None:
        return self.read().get(sample)


@pytest.fixture
async def counted(tmp_path: Path) -> AsyncIterator[Counted]:
    found = Counted(tmp_path)
    await found.store.open()
    await found.registry.load()
    yield found
    await found.store.close()


async def test_live_sessions_are_counted_as_they_are(counted: Counted) -> None:
    ready = recorded(1, ready=NOW, begun=True)
    await counted.registry.add(ready)
    await counted.registry.add(recorded(2, BEN, begun=True))
    await counted.registry.add_job(job(3), most=5)
    for number in (1, 2, 3):
        record = counted.registry.get(session_id(number))
        assert record is not None
        counted.registry.evidence[record.launch] = Evidence(life=Life.RUNNING, phase=Phase.READY)
    assert counted["canfar_sessions", "notebook", "flexible", "Running"] == 1
    assert counted["canfar_sessions", "notebook", "flexible", "Pending"] == 1
    assert counted["canfar_sessions", "headless", "flexible", "Running"] == 1
    await counted.registry.change(ready.id, ending=Reason.STOPPED)
    assert counted["canfar_sessions", "notebook", "flexible", "Terminating"] == 1
    assert counted["canfar_sessions", "notebook", "flexible", "Running"] is None
    await counted.registry.end(ready.id, reason=Reason.STOPPED, at=NOW)
    assert counted["canfar_sessions", "notebook", "flexible", "Terminating"] is None


async def test_starts_ends_and_how_long_a_start_took(counted: Counted) -> None:
    await counted.registry.add(recorded(1))
    await counted.registry.add_job(job(2), most=5)
    await counted.registry.change(session_id(1), ready=NOW + timedelta(seconds=42))
    await counted.registry.change(session_id(1), name="again", ready=NOW + timedelta(seconds=42))
    await counted.registry.change(session_id(1), node="n1")
    await counted.registry.end(session_id(1), reason=Reason.OUT_OF_MEMORY, at=NOW)
    await counted.registry.end(session_id(2), reason=Reason.NONE, at=NOW)
    assert counted["canfar_session_starts_total", "notebook", "flexible"] == 1
    assert counted["canfar_session_starts_total", "headless", "flexible"] == 1
    assert counted["canfar_session_start_seconds_count", "notebook", "flexible"] == 1
    assert counted["canfar_session_start_seconds_sum", "notebook", "flexible"] == 42
    assert counted["canfar_session_start_seconds_count", "headless", "flexible"] is None
    assert counted["canfar_session_ends_total", "notebook", "flexible", "out_of_memory"] == 1
    assert counted["canfar_session_ends_total", "headless", "flexible", "other"] == 1


async def test_a_clock_that_went_back_takes_nothing_away(counted: Counted) -> None:
    await counted.registry.add(recorded(1))
    await counted.registry.change(session_id(1), ready=NOW - timedelta(minutes=10))
    counted.metrics.answered("listSessions", 200, -0.5)
    assert counted["canfar_session_start_seconds_sum", "notebook", "flexible"] == 0
    assert counted["canfar_api_request_seconds_sum", "listSessions"] == 0


async def test_answers_by_the_word_of_the_route(counted: Counted) -> None:
    counted.metrics.answered("listSessions", 200, 0.02)
    counted.metrics.answered("listSessions", 401, 0.01)
    counted.metrics.answered("", 404, 0.01)
    assert counted["canfar_api_requests_total", "listSessions", "200"] == 1
    assert counted["canfar_api_requests_total", "listSessions", "401"] == 1
    assert counted["canfar_api_requests_total", "other", "404"] == 1
    assert counted["canfar_api_request_seconds_count", "listSessions"] == 2


async def test_no_label_grows_without_end(counted: Counted) -> None:
    for number in range(1000):
        counted.metrics.refused(f"code_{number}")
    codes = [labels for name, *labels in counted.read() if name == "canfar_refusals_total"]
    assert len(codes) == 101
    assert counted["canfar_refusals_total", "other"] == 900
    counted.metrics.refused("code_1")
    assert counted["canfar_refusals_total", "code_1"] == 2


async def test_what_does_not_differ_any_more_is_zero(counted: Counted) -> None:
    counted.metrics.reconciled({"gone": 2, "unowned": 1})
    assert counted["canfar_reconcile_differences", "gone"] == 2
    counted.metrics.reconciled({"unowned": 3})
    assert counted["canfar_reconcile_differences", "gone"] == 0
    assert counted["canfar_reconcile_differences", "unowned"] == 3


async def test_database_and_back_end(counted: Counted, tmp_path: Path) -> None:
    assert counted["canfar_database_up",] == 1
    assert counted["canfar_backend_answer_age_seconds",] == 1.5
    counted.age = 90
    tmp_path.rename(tmp_path.with_name("aside"))
    with pytest.raises(Unavailable):
        await counted.store.open()
    assert counted["canfar_database_up",] == 0
    assert counted["canfar_backend_answer_age_seconds",] == 90
    tmp_path.with_name("aside").rename(tmp_path)
    await counted.store.open()
    assert counted["canfar_database_up",] == 1


async def test_two_managers_of_one_process_count_apart(counted: Counted, tmp_path: Path) -> None:
    other = Counted(tmp_path)
    other.metrics.refused("invalid")
    assert counted["canfar_refusals_total", "invalid"] is None
    assert not any(family.name.startswith("canfar_session") for family in REGISTRY.collect())
    assert counted.read()[("process_resident_memory_bytes",)] > 0
    assert CONTENT_TYPE.startswith("text/plain")
    await other.store.close()


async def test_each_round_of_reconciliation_says_what_differs(parts: Parts) -> None:
    metrics = Metrics(parts.registry, database_up=lambda: True, observed=lambda: 0.0)
    found: list[dict[str, int]] = []
    parts.reconciler.compared.append(
        lambda seen: found.append(Counter(each.what.value for each in seen))
    )
    parts.reconciler.compared.append(
        lambda seen: metrics.reconciled(Counter(each.what.value for each in seen))
    )
    record = await parts.launch()
    del parts.hub.rows[record.id]
    parts.clock.go(60)
    await parts.observer.look()
    await parts.reconciler.round()
    assert found[-1], "the hub has lost a row"
    for what, count in found[-1].items():
        assert (
            f'canfar_reconcile_differences{{what="{what}"}} {count:.1f}' in metrics.text().decode()
        )
