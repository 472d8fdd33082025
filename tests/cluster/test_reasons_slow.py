"""Reasons that take their time, side by side: the kernel ends, the kubelet evicts, a registry refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from canfar_spawner.core.status import REASONS, Reason
from tests.support import unlucky
from tests.support.cluster import Cluster
from tests.support.cluster_hub import ClusterHub, running_cluster_hub
from tests.support.hub import Visitor
from tests.support.told import Told, ends, fails

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def hub(data_directory: Path, cluster: Cluster) -> Iterator[ClusterHub]:
    settings = {"catalogue": unlucky.sections(), "config": unlucky.CONFIG}
    with running_cluster_hub(data_directory, cluster=cluster, **settings) as found:
        yield found


Stories = dict[str, Future[Told]]


@pytest.fixture(scope="module")
def stories(hub: ClusterHub, ada: Visitor, fresh: Callable[[], str]) -> Iterator[Stories]:
    """Begin everything that takes long, side by side."""

    def glutton(session: str) -> Told:
        def eat() -> None:
            answer = httpx.get(
                f"{hub.url}/user/ada/{session}/eat",
                headers={"Authorization": f"Bearer {ada.token}"},
                timeout=60,
            )
            assert answer.status_code >= 500, answer.text

        return ends(
            *(ada, session, eat),
            seconds=75,
            record="out-of-memory",
            container="glutton",
            mode="fixed",
            cores=0.5,
            memory=1,
        )

    def hoarder(session: str) -> Told:
        def fill() -> str:
            return hub.run_in(session, "fallocate", "-l", "1200M", "/scratch/too-much")

        return ends(ada, session, fill, seconds=300, record="scratch-full", container="probe")

    def failing(session: str, container: str) -> Told:
        return fails(ada, session, seconds=180, container=container)

    with ThreadPoolExecutor(8) as pool:
        yield {
            "glutton": pool.submit(glutton, fresh()),
            "hoarder": pool.submit(hoarder, fresh()),
            "missing": pool.submit(failing, fresh(), "missing"),
            "private": pool.submit(failing, fresh(), "private"),
            "absent": pool.submit(failing, fresh(), "absent"),
        }


def tell(told: Told) -> None:
    """Let whoever runs these tests see what was measured and read."""
    print(f"\n{told.seconds:.1f} s: {told.sentence}\n  home: {told.home}")


def test_the_image_is_not_there(stories: Stories) -> None:
    told = stories["missing"].result()
    tell(told)
    assert REASONS[Reason.IMAGE_NOT_FOUND].sentence in told.sentence
    assert "no-such-tag" in told.sentence, "the text of the event"
    assert REASONS[Reason.IMAGE_NOT_FOUND].advice in told.sentence
    assert REASONS[Reason.IMAGE_NOT_FOUND].sentence in told.home


def test_the_registry_wants_credentials(stories: Stories) -> None:
    told = stories["private"].result()
    tell(told)
    assert REASONS[Reason.IMAGE_REFUSED].sentence in told.sentence
    assert REASONS[Reason.IMAGE_REFUSED].advice in told.sentence
    assert REASONS[Reason.IMAGE_REFUSED].sentence in told.home


def test_the_program_is_not_in_the_image(stories: Stories) -> None:
    told = stories["absent"].result()
    tell(told)
    assert REASONS[Reason.PROGRAM_MISSING].sentence in told.sentence
    assert "/no/such/program" in told.sentence


def test_the_program_needs_more_memory_than_it_has(stories: Stories) -> None:
    told = stories["glutton"].result()
    tell(told)
    assert REASONS[Reason.OUT_OF_MEMORY].sentence in told.home
    assert "more memory" in told.home


def test_scratch_overflows(stories: Stories) -> None:
    told = stories["hoarder"].result()
    tell(told)
    assert REASONS[Reason.SCRATCH_FULL].sentence in told.home
    assert REASONS[Reason.SCRATCH_FULL].advice in told.home
