from __future__ import annotations

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canfar_spawner.core.errors import Invalid, NotAllowed, SessionError
from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.core.pods import SiteVolume
from canfar_spawner.core.storage import (
    Area,
    AreaPolicy,
    Persistence,
    StoragePlan,
    StoragePolicy,
    check_open,
    plan_storage,
)
from canfar_spawner.core.variables import storage_facts
from tests.core.strategies import PATHS, SOME_TEXT
from tests.core.world import ADA, BEN, EVE, attempt, facts
from tests.core.world import plan as planned

KNOWN = frozenset({"demo", "survey", "secret"})


def stored(
    projects: tuple[str, ...] | None = None,
    identity: PosixIdentity = ADA,
    policy: StoragePolicy | None = None,
    known: frozenset[str] = KNOWN,
) -> StoragePlan:
    return plan_storage(
        projects=projects,
        identity=identity,
        policy=policy or StoragePolicy(),
        known_projects=known,
    )


def paths(plan: StoragePlan) -> list[str]:
    return [mount.path for mount in plan.mounts]


def test_everyone_gets_all_that_is_theirs() -> None:
    fixed = ["/scratch", "/dev/shm"]
    projects = ["/arc/projects/demo", "/arc/projects/survey"]
    assert paths(stored()) == ["/arc/home/ada", *projects, *fixed]
    assert paths(stored(identity=BEN)) == ["/arc/home/ben", "/arc/projects/survey", *fixed]
    assert paths(stored(identity=EVE)) == ["/arc/home/eve", *fixed]


@pytest.mark.parametrize(
    ("asked", "given_"),
    [
        ((), []),
        (("demo",), ["demo"]),
        (("survey", "demo"), ["demo", "survey"]),
        (("demo", "demo"), ["demo"]),
    ],
)
def test_projects_can_be_chosen(asked: tuple[str, ...], given_: list[str]) -> None:
    plan = stored(asked)
    assert [mount.name for mount in plan.find(Area.PROJECT)] == given_


@given(st.none() | st.lists(st.sampled_from([*KNOWN, "gone"]) | SOME_TEXT, max_size=4).map(tuple))
def test_mounts_are_within_what_the_identity_permits(asked: tuple[str, ...] | None) -> None:
    for identity in (ADA, BEN, EVE):
        permitted = {f"/arc/projects/{name}" for name in identity.projects}
        permitted |= {f"/arc/home/{identity.name}", "/scratch", "/dev/shm"}
        plan = attempt(partial(stored, asked, identity))
        if isinstance(plan, SessionError):
            assert asked is not None
            assert not set(asked) <= set(identity.projects)
            assert facts(plan)[:3] == (NotAllowed, "not_allowed", "projects")
            assert plan.allowed == identity.projects
        else:
            assert set(paths(plan)) <= permitted
            assert len(set(paths(plan))) == len(plan.mounts)


def test_a_project_the_site_does_not_have_is_not_mounted() -> None:
    assert not stored(known=frozenset()).find(Area.PROJECT)
    with pytest.raises(NotAllowed, match="you have none"):
        stored(("demo",), known=frozenset())


def test_a_refusal_does_not_tell_whether_the_project_exists() -> None:
    sentences = []
    for project in ("secret", "nowhere"):
        with pytest.raises(NotAllowed) as caught:
            stored((project,))
        sentences.append(caught.value.sentence.replace(project, "X"))
    assert sentences[0] == sentences[1]
    assert "demo and survey" in sentences[0]


def test_each_path_says_what_is_left_of_it() -> None:
    policy = StoragePolicy(
        home=AreaPolicy(persistence=Persistence.BACKED_UP),
        projects=AreaPolicy(persistence=Persistence.KEPT),
        shared_memory_gb=0,
        cvmfs=True,
    )
    plan = stored(("demo",), policy=policy)
    assert {mount.path: (mount.persistence, mount.read_only) for mount in plan.mounts} == {
        "/arc/home/ada": (Persistence.BACKED_UP, False),
        "/arc/projects/demo": (Persistence.KEPT, False),
        "/scratch": (Persistence.WIPED, False),
        "/cvmfs": (Persistence.KEPT, True),
    }
    assert plan.home == "/arc/home/ada"


@pytest.mark.parametrize(
    "path",
    [
        "/arc/home/ada",
        "/arc/home/ada/a",
        "/arc/home/ada/a b/ü.ipynb",
        "/arc/home/ada/..a",
        "/arc/home/ada/...",
        "/arc/home/ada/.hidden",
        "/arc/home/ada/%2e%2e",
        "/arc/home/ada/~",
        "/arc/projects/demo",
        "/arc/projects/demo/cube.fits",
    ],
)
def test_opens(path: str) -> None:
    assert check_open(path, stored(("demo",))) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "/",
        "//",
        "/arc",
        "/arc/home",
        "/arc/home/",
        "/arc/home/ada/",
        "/arc/home/ada//a",
        "//arc/home/ada",
        "///arc/home/ada",
        "/arc/home/ada2",
        "/arc/home/ada2/a",
        "/arc/home/ad",
        "/arc/home/Ada",
        "/arc/home/ada.old/a",
        "/arc/home/ada/..",
        "/arc/home/ada/../ben",
        "/arc/home/ada/a/../../ben/b",
        "/arc/home/ada/a/../b",
        "/arc/home/ada/.",
        "/arc/home/ada/./a",
        "/arc/home/../home/ada",
        "/arc/home/ben/a",
        "/arc/projects/survey",
        "/arc/projects/demo2",
        "/arc/projects",
        "/scratch/a",
        "/dev/shm",
        "/etc/passwd",
        "arc/home/ada",
        "~/a",
        " /arc/home/ada",
        "/arc/home/ada\n",
        "/arc/home/ada/a\nb",
        "/arc/home/ada/a\0",
        "/arc/home/ada/\u202eb",
        "/arc/home/ada/\ud800",
        "/arc/home/ada/\u2028",
        "/arc/home/ada/{username}",
        "/arc/home/ada/a}",
        "\\arc\\home\\ada",
        "/arc/home/ada/" + "x" * 1024,
        "/arc/home/ada" + "/x" * 1024,
        "file:///arc/home/ada",
    ],
    ids=lambda path: ascii(path)[:60],
)
def test_does_not_open(path: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_open(path, stored(("demo",)))
    refusal = caught.value
    assert refusal.field == "open"
    assert refusal.allowed == ("/arc/home/ada", "/arc/projects/demo")
    assert "/arc/home/ada or /arc/projects/demo" in refusal.sentence
    assert refusal.sentence.isprintable()


@given(PATHS | SOME_TEXT | SOME_TEXT.map("/arc/home/ada/{}".format))
def test_what_opens_is_beneath_a_root(path: str) -> None:
    try:
        opened = check_open(path, stored())
    except Invalid:
        return
    parts = opened.split("/")
    assert parts[:2] == ["", "arc"]
    assert parts[2:4] in (["home", "ada"], ["projects", "demo"], ["projects", "survey"])
    assert not set(parts[1:]) & {"", ".", ".."}


def test_a_session_is_told_what_becomes_of_its_files() -> None:
    told = json.loads(storage_facts(planned({"container": "astroml"})))
    assert told["home"] == {"persistence": "kept, no backup", "arc": "/arc/home/ada"}
    assert told["projects"] == {"persistence": "kept, no backup", "arc": "/arc/projects"}
    assert told["scratch"] == {"persistence": "wiped when the session ends"}
    assert told["cvmfs"]["read_only"] is True
    volume = SiteVolume(name="catalogues", path="/data/catalogues", claim="catalogues")
    more = json.loads(storage_facts(planned({"container": "astroml"}), (volume,)))
    assert more["site-catalogues"] == {
        "title": "catalogues",
        "path": "/data/catalogues",
        "read_only": True,
    }
    without = json.loads(storage_facts(planned({"container": "astroml", "projects": []})))
    assert set(without) == {"home", "scratch", "cvmfs"}
