"""How long starts usually take, as the page that waits for one says it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from canfar_spawner.hub.starts import StartTimes
from tests.core.world import ADA, plan

LOG = logging.getLogger(__name__)
ASTROML = plan({"container": "astroml"}, ADA)
OTHER = ASTROML.model_copy(update={"container": "casa"})


def test_the_median_of_three_or_more_is_usual(tmp_path: Path) -> None:
    starts = StartTimes(tmp_path / "starts.json", LOG)
    for seconds in (4.2, 90.0):
        starts.add(ASTROML, seconds)
        assert starts.typical(ASTROML) is None
    starts.add(ASTROML, 6.6)
    assert starts.typical(ASTROML) == 7
    assert starts.typical(OTHER) is None


def test_the_last_twenty_count_and_outlive_the_hub(tmp_path: Path) -> None:
    starts = StartTimes(tmp_path / "starts.json", LOG)
    for number in range(60):
        starts.add(ASTROML, float(number))
    assert StartTimes(tmp_path / "starts.json", LOG).typical(ASTROML) == 50


def test_an_image_by_reference_counts_without_its_tag(tmp_path: Path) -> None:
    starts = StartTimes(tmp_path / "starts.json", LOG)
    for tag in ("1", "2", "3"):
        image = ASTROML.image.model_copy(update={"tag": tag})
        starts.add(ASTROML.model_copy(update={"container": None, "image": image}), 5)
    assert starts.typical(ASTROML.model_copy(update={"container": None})) == 5


@pytest.mark.parametrize("text", ["", "[1]", '{"astroml": 3}', '{"astroml": ["x"]}', "\x00"])
def test_a_file_that_says_nothing_is_begun_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "starts.json"
    path.write_text(text)
    starts = StartTimes(path, LOG)
    assert starts.typical(ASTROML) is None
    starts.add(ASTROML, 3)
    assert "astroml" in path.read_text()


def test_a_directory_that_cannot_be_written_loses_nothing_else(tmp_path: Path) -> None:
    starts = StartTimes(tmp_path / "gone" / "starts.json", LOG)
    for _ in range(3):
        starts.add(ASTROML, 3)
    assert starts.typical(ASTROML) == 3
