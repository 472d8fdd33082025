"""What the manager counts, as Prometheus reads it; every label has few values."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from canfar_spawner.core.status import Status, status_of
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.registry import Registry

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_STARTS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 6 * 3600, 24 * 3600)
_ANSWERS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_MOST_CODES: Final = 100
OTHER: Final = "other"


class _Sessions(Collector):
    """Sessions as they are when it is asked, so that none is counted that is gone."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @override
    def collect(self) -> Iterable[Metric]:
        found = GaugeMetricFamily(
            "canfar_sessions",
            "Sessions that have not ended.",
            labels=("kind", "mode", "status"),
        )
        tally: Tally[tuple[str, str, str]] = Tally()
        for record in self._registry.live():
            evidence = self._registry.evidence_of(record)
            answers = record.ready is not None or not record.interactive
            status = Status.TERMINATING if record.ending else status_of(evidence, answers=answers)
            tally[(*_labels(record), status.value)] += 1
        for labels, count in sorted(tally.items()):
            found.add_metric(labels, count)
        yield found


def _labels(record: SessionRecord) -> tuple[str, str]:
    return record.kind.value, record.plan.resources.allocation.value


class Metrics:
    """The manager's metrics, in a registry of their own.

    Parameters
    ----------
    registry : Registry
        Whose sessions are counted.
    database_up : callable
        Says whether the database works.
    observed : callable
        Gives how many seconds ago the back end last answered.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        database_up: Callable[[], bool],
        observed: Callable[[], float],
    ) -> None:
        own = CollectorRegistry()
        self._own = own
        self._starting: set[str] = set()
        self._codes: set[str] = set()
        self._findings: frozenset[str] = frozenset()
        own.register(_Sessions(registry))
        ProcessCollector(registry=own)
        sizes = ("kind", "mode")
        self._starts = Counter(
            "canfar_session_starts", "Sessions that were asked for.", sizes, registry=own
        )
        self._ends = Counter(
            "canfar_session_ends",
            "Sessions that have ended, by why.",
            (*sizes, "reason"),
            registry=own,
        )
        self._start_time = Histogram(
            "canfar_session_start_seconds",
            "From the request until the program answers, or a job runs.",
            sizes,
            buckets=_STARTS,
            registry=own,
        )
        self._refusals = Counter(
            "canfar_refusals", "Requests that came to nothing, by code.", ("code",), registry=own
        )
        self._requests = Counter(
            "canfar_api_requests", "Answers given.", ("operation", "status"), registry=own
        )
        self._answer_time = Histogram(
            "canfar_api_request_seconds",
            "From a request to its answer.",
            ("operation",),
            buckets=_ANSWERS,
            registry=own,
        )
        self._differences = Gauge(
            "canfar_reconcile_differences",
            "What records, hub and back end did not agree on at the last look.",
            ("what",),
            registry=own,
        )
        Gauge(
            "canfar_backend_answer_age_seconds",
            "Since the back end last answered.",
            registry=own,
        ).set_function(observed)
        Gauge("canfar_database_up", "Whether the database works.", registry=own).set_function(
            lambda: float(database_up())
        )
        registry.subscribe(self._follow)

    def _follow(self, record: SessionRecord, what: str) -> None:
        labels = _labels(record)
        if what == "added":
            self._starts.labels(*labels).inc()
            self._starting.add(record.launch)
        if record.ready is not None and record.launch in self._starting:
            self._starting.discard(record.launch)
            self._start_time.labels(*labels).observe(_seconds(record.asked, record.ready))
        if what == "ended":
            self._starting.discard(record.launch)
            self._ends.labels(*labels, record.reason.value or OTHER).inc()

    def refused(self, code: str) -> None:
        """Count a refusal."""
        if code not in self._codes and len(self._codes) >= _MOST_CODES:
            code = OTHER
        self._codes.add(code)
        self._refusals.labels(code).inc()

    def answered(self, operation: str, status: int, seconds: float) -> None:
        """Count an answer.

        Parameters
        ----------
        operation : str
            The route's own word, never an address; empty for addresses that are none.
        status : int
        seconds : float
        """
        operation = operation or OTHER
        self._requests.labels(operation, str(status)).inc()
        self._answer_time.labels(operation).observe(max(0.0, seconds))

    def reconciled(self, found: Mapping[str, int]) -> None:
        """Say how many differences of each kind were found at the last look."""
        for what in self._findings - found.keys():
            self._differences.labels(what).set(0)
        self._findings |= found.keys()
        for what, count in found.items():
            self._differences.labels(what).set(count)

    def text(self) -> bytes:
        """Give everything as Prometheus reads it."""
        return generate_latest(self._own)


def _seconds(asked: datetime, ready: datetime) -> float:
    return max(0.0, (ready - asked).total_seconds())
