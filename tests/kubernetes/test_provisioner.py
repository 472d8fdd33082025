"""The storage provisioner's Jobs, as far as no cluster is needed."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.kubernetes.arc import parse
from canfar_spawner.kubernetes.provisioner import (
    Directories,
    Memory,
    hub_image,
    job_end,
    provision_job,
    waiting_for,
)
from tests.core.world import ADA, BEN, plan, site

GOLDEN = Path(__file__).parent / "golden" / "provision_job.json"
GIDS = {"demo": 7004, "survey": 7006}
LOG = logging.getLogger(__name__)


def policy(**storage: object) -> SitePolicy:
    return site(
        storage={"home": {"persistence": "kept, no backup", "quota_gb": 100}},
        pods={
            "storage": {"image": "registry.example.org/canfar-hub/hub:1", **storage},
            "placement": {
                "node_selector": {"storage": "near"},
                "tolerations": [{"key": "science", "operator": "Exists"}],
            },
        },
    )


def wanted(site_policy: SitePolicy) -> Directories:
    return Directories.of(plan({"container": "astroml"}, policy=site_policy), GIDS, site_policy)


def test_the_job_is_as_it_was() -> None:
    made = provision_job(wanted(policy()), policy(), name="arc-ada-01234567")
    if os.environ.get("CANFAR_UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(made, indent=2, sort_keys=True) + "\n")
    assert made == json.loads(GOLDEN.read_text()), "CANFAR_UPDATE_GOLDEN=1 writes it anew"


def test_equal_directories_give_equal_jobs() -> None:
    first = Directories(
        homes={"ada": (5001, 5001, None)}, projects={"a": (7001, 1), "b": (7002, 1)}
    )
    other = Directories(
        homes={"ada": (5001, 5001, None)}, projects={"b": (7002, 1), "a": (7001, 1)}
    )
    assert provision_job(first, policy(), name="x") == provision_job(other, policy(), name="x")


def test_the_program_takes_what_the_job_gives_it() -> None:
    job = provision_job(wanted(policy(homes="deep/home", projects="")), policy(), name="x")
    homes, projects = parse(job["spec"]["template"]["spec"]["containers"][0]["args"][0])
    assert [(made.name, made.uid, made.gid) for made in homes.make] == [("ada", 5001, 5001)]
    assert homes.quota == 100 * 2**30
    assert [(made.name, made.uid, made.gid) for made in projects.make] == [
        ("demo", 0, 7004),
        ("survey", 0, 7006),
    ]


def test_paths_of_the_storage_reach_the_program() -> None:
    there = policy(homes="deep/home", projects="")
    homes, projects = parse(wanted(there).document(there.pods.storage))
    assert homes.path == ("deep", "home")
    assert projects.path == ()


def test_the_image_is_by_default_the_hubs_own() -> None:
    assert hub_image(policy()) == "registry.example.org/canfar-hub/hub:1"
    assert hub_image(policy(image="")).startswith("images.canfar.net/canfar-hub/hub:")


def test_only_what_is_missing_or_has_changed_is_made() -> None:
    both = Directories(
        homes={"ada": (5001, 5001, None)}, projects={"demo": (7004, None), "survey": (7006, None)}
    )
    assert both.without(Directories()) == both
    assert not both.without(both)
    made = Directories(homes={"ada": (5001, 5009, None)}, projects={"demo": (7004, None)})
    assert both.without(made) == Directories(homes=both.homes, projects={"survey": (7006, None)})


def test_what_was_made_is_remembered_by_the_next_hub(tmp_path: Path) -> None:
    path = tmp_path / "arc.json"
    first = wanted(policy())
    Memory(path, LOG).add("here", first)
    assert path.stat().st_mode & 0o777 == 0o600
    again = Memory(path, LOG)
    assert again.of("here") == first
    assert not again.of("elsewhere")
    more = Directories(homes={"ben": (BEN.uid, BEN.group.gid, None)})
    again.add("here", more)
    known = Memory(path, LOG).of("here")
    assert set(known.homes) == {ADA.name, BEN.name}
    assert known.projects == first.projects


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"homes": {}}', '{"homes": {"ada": [1]}}', "\xff"]
)
def test_a_broken_memory_is_begun_anew(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "arc.json"
    path.write_text(text)
    memory = Memory(path, LOG)
    assert not memory.of("here")
    assert "is begun anew" in caplog.text
    memory.add("here", wanted(policy()))
    assert Memory(path, LOG).of("here") == wanted(policy())


@pytest.mark.parametrize(
    ("conditions", "end"),
    [
        (None, None),
        ([], None),
        ([{"type": "Complete", "status": "True"}], True),
        ([{"type": "SuccessCriteriaMet", "status": "True"}], True),
        ([{"type": "Failed", "status": "True"}], False),
        ([{"type": "FailureTarget", "status": "True"}], False),
        ([{"type": "Failed", "status": "False"}, {"type": "Suspended", "status": "True"}], None),
    ],
)
def test_a_jobs_end_is_read_from_its_conditions(
    conditions: list[dict[str, str]] | None,
    end: bool | None,  # noqa: FBT001 - the parameter of a test
) -> None:
    assert job_end({"status": {"conditions": conditions}}) is end
    assert job_end({}) is None


def test_what_keeps_a_pod_from_running_is_told_in_the_words_of_kubernetes() -> None:
    image = {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
    unplaced = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    placed = {"type": "PodScheduled", "status": "True"}
    assert waiting_for({"status": {"containerStatuses": [image]}}) == "not found"
    assert waiting_for({"status": {"conditions": [unplaced]}}) == "0/1 nodes are available"
    assert waiting_for({"status": {"conditions": [placed]}}) == ""
    assert waiting_for({}) == ""
