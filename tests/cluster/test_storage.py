"""Homes, projects and scratch of sessions on the real cluster: who finds what, and who does not."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import Need
from tests.support.cluster import Cluster, ClusterError, images, site
from tests.support.cluster.site import HUB, STORAGE
from tests.support.cluster_hub import ClusterHub, running_cluster_hub
from tests.support.hub import ROOT, Visitor, wait_for
from tests.support.lab import Lab
from tests.support.told import left

pytestmark = pytest.mark.cluster

Fresh = Callable[[], str]
BELOW = "storage-tests"
"""A directory of the claim that is empty when these tests begin."""
ADA, BEN, NEWTON = 20001, 20002, 20010
DEMO, SURVEY = 30001, 30002
SIXTY = [f"sky{number:02d}" for number in range(60)]
RUNS = 5
AIM = 1.5
_SKELETON = {".bash_logout", ".bashrc", ".profile"}
"""What Debian, on which the hub's image stands, puts into a new home."""


def users() -> dict[str, object]:
    """Give the demo's accounts, somebody new, and two who differ in how many projects they have."""
    content = yaml.safe_load((ROOT / "hub_config" / "users.yaml").read_text())
    content["groups"] |= {name: 31000 + number for number, name in enumerate(SIXTY)}
    content["users"] |= {
        "newton": {"uid": NEWTON, "groups": ["survey"]},
        "few": {"uid": 20011, "groups": SIXTY[:2]},
        "many": {"uid": 20012, "groups": SIXTY},
    }
    return dict(content)


@contextlib.contextmanager
def admitted(cluster: Cluster, places: dict[str, str]) -> Iterator[None]:
    """Have the admission policy expect homes and projects at other places, for the length of a block."""
    which = ("configmap", "canfar-admission", "--namespace", HUB)
    usual = json.loads(cluster.kubectl("get", *which, "--output", "json"))["data"]
    before = {name: usual[name] for name in places}
    cluster.kubectl("patch", *which, "--patch", json.dumps({"data": places}))
    try:
        yield
    finally:
        cluster.kubectl("patch", *which, "--patch", json.dumps({"data": before}))


@pytest.fixture(scope="module")
def hub(data_directory: Path, cluster: Cluster) -> Iterator[ClusterHub]:
    """Run a hub whose part of the storage is empty, as far as the cluster knows."""
    shutil.rmtree(cluster.arc / BELOW, ignore_errors=True)
    accounts = data_directory.parent / "users.yaml"
    accounts.write_text(yaml.safe_dump(users()))
    content = site.catalogue()
    storage = {"homes": f"{BELOW}/home", "projects": f"{BELOW}/projects"}
    sections = {
        "pods": {**content["pods"], "storage": storage},
        "projects": [
            *content["projects"],
            *({"name": name, "title": name.capitalize(), "group": name} for name in SIXTY),
        ],
    }
    environ = {"CANFAR_HUB_USERS": str(accounts)}
    settings = {"cluster": cluster, "catalogue": sections, "environ": environ}
    with admitted(cluster, storage), running_cluster_hub(data_directory, **settings) as found:
        yield found


def starts(visitor: Visitor, session: str, **options: object) -> str:
    """Launch a session of the probe, wait until it answers and give its id."""
    answer = visitor.launch(session, container="probe", **options)
    assert answer.status_code in (201, 202), answer.text
    visitor.wait_ready(session)
    return session


def shell(hub: ClusterHub, session: str, script: str) -> str:
    """Run a shell script in a session, which need not end well, and give all that it wrote."""
    return hub.run_in(session, "sh", "-c", f"exec 2>&1; {script}\ntrue")


def owned(path: Path) -> tuple[int, int, int]:
    """Give mode, user and group of what is on the storage."""
    found = path.lstat()
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def mounted(hub: ClusterHub, session: str) -> dict[str, str]:
    """Give what the kernel has mounted under /arc in a session: path, and which part of the file system."""
    lines = hub.run_in(session, "cat", "/proc/self/mountinfo").splitlines()
    fields = [line.split() for line in lines]
    return {each[4]: each[3] for each in fields if each[4].startswith("/arc")}


def jobs_of(cluster: Cluster, user: str) -> set[str]:
    """Give the provisioner's Jobs that were ever made for a user."""
    text = cluster.kubectl(
        *("get", "events", "--namespace", STORAGE, "--output", "json"),
        *("--field-selector", "reason=SuccessfulCreate,involvedObject.kind=Job"),
    )
    names = {str(event["involvedObject"]["name"]) for event in json.loads(text)["items"]}
    text = cluster.kubectl("get", "jobs", "--namespace", STORAGE, "--output", "json")
    names |= {str(job["metadata"]["name"]) for job in json.loads(text)["items"]}
    return {name for name in names if name.startswith(f"arc-{user}-")}


# The first time.


def test_a_first_time_user_on_an_empty_claim(
    hub: ClusterHub, cluster: Cluster, fresh: Fresh
) -> None:
    place = cluster.arc / BELOW
    assert not place.exists(), "nothing has been made yet"
    before = jobs_of(cluster, "newton")
    newton = hub.sign_in("newton")
    session = starts(newton, fresh())
    home = place / "home" / "newton"
    assert owned(home) == (0o700, NEWTON, NEWTON)
    assert {path.name for path in home.iterdir()} >= _SKELETON
    assert {owned(path)[1:] for path in home.rglob("*")} == {(NEWTON, NEWTON)}
    assert owned(place / "projects" / "survey") == (0o2770, 0, SURVEY)
    for path in (place, place / "home", place / "projects"):
        assert owned(path) == (0o755, 0, 0), f"{path} is for all to pass through"
    assert sorted(path.name for path in place.glob("*/*")) == ["newton", "survey"]

    written = shell(hub, session, "pwd; echo mine > note; ls -A; stat -c %u:%g note")
    first, *listed, last = written.splitlines()
    assert (first, last) == ("/arc/home/newton", f"{NEWTON}:{NEWTON}")
    assert set(listed) > _SKELETON, "she finds what her new home was given"
    made = jobs_of(cluster, "newton") - before
    assert len(made) == 1

    again = starts(newton, fresh())
    assert hub.run_in(again, "cat", "note").strip() == "mine"
    assert jobs_of(cluster, "newton") - before == made, "the second launch needs no Job"
    newton.stop(session)
    newton.stop(again)


# What is shared.


@pytest.fixture(scope="module")
def labs(
    hub: ClusterHub, ada: Visitor, ben: Visitor, fresh: Fresh, need: Need
) -> Iterator[tuple[Lab, Lab]]:
    """A notebook session of ada's and one of ben's."""
    how = "build it with: python3 -m tests.support.cluster.images notebook"
    need("image-notebook", images.is_ready("notebook"), how)
    del hub
    # The first start of an image takes as long as its pull does.
    first, second = fresh(), fresh()
    for visitor, session in ((ada, first), (ben, second)):
        visitor.launch(session, container="notebook", mode="flexible")
    for visitor, session in ((ada, first), (ben, second)):
        wait_for(
            lambda who=visitor, which=session: (who.server(which) or {}).get("ready"),
            "a notebook session",
            seconds=900,
        )
    yield Lab(ada, first, Path()), Lab(ben, second, Path())
    ada.stop(first)
    ben.stop(second)


def test_ada_and_ben_share_a_project(cluster: Cluster, labs: tuple[Lab, Lab]) -> None:
    of_ada, of_ben = labs
    of_ada.run(
        "import os\n"
        "os.makedirs('/arc/projects/survey/shared/deep')\n"
        "open('/arc/projects/survey/shared/deep/table.csv', 'w').write('ada was here\\n')\n"
    )
    # Also by a shell of hers, as a terminal or a script has it.
    of_ada.run("import subprocess; subprocess.run('echo 1 > /arc/projects/survey/sh', shell=True)")
    # And by the file browser.
    saved = of_ada.call(
        "PUT",
        "api/contents/projects/survey/browser.txt",
        json={"type": "file", "format": "text", "content": "ada\n"},
    )
    assert saved.status_code == 201, saved.text
    shared = cluster.arc / BELOW / "projects" / "survey"
    table = shared / "shared" / "deep" / "table.csv"
    assert owned(table) == (0o664, ADA, SURVEY)
    assert owned(table.parent) == (0o2775, ADA, SURVEY)
    for name in ("sh", "browser.txt"):
        assert owned(shared / name) == (0o664, ADA, SURVEY)
        of_ben.run(f"open('/arc/projects/survey/{name}', 'a').write('ben\\n')")
    of_ben.run(
        "open('/arc/projects/survey/shared/deep/table.csv', 'a').write('ben too\\n')\n"
        "open('/arc/projects/survey/shared/deep/new.csv', 'w').write('ben began this\\n')\n"
    )
    print_table = "print(open('/arc/projects/survey/shared/deep/table.csv').read())"
    assert of_ada.run(print_table).split("\n")[:2] == ["ada was here", "ben too"]
    of_ada.run("open('/arc/projects/survey/shared/deep/new.csv', 'a').write('ada went on\\n')")
    new = table.with_name("new.csv")
    assert owned(new)[1:] == (BEN, SURVEY)
    assert new.read_text().splitlines() == ["ben began this", "ada went on"]


def test_a_home_is_its_owners_alone_whatever_is_made_in_it(
    cluster: Cluster, labs: tuple[Lab, Lab]
) -> None:
    of_ada, _ = labs
    of_ada.run("import os; open(os.path.expanduser('~/plain'), 'w').write('x')")
    home = cluster.arc / BELOW / "home" / "ada"
    assert owned(home) == (0o700, ADA, ADA)
    assert owned(home / "plain")[1:] == (ADA, ADA)


# What is not.


def test_what_is_others_is_neither_mounted_nor_within_reach(
    hub: ClusterHub, cluster: Cluster, ada: Visitor, ben: Visitor, fresh: Fresh
) -> None:
    place = cluster.arc / BELOW
    of_ada, of_ben = starts(ada, fresh()), starts(ben, fresh())
    shell(hub, of_ada, "umask 0; echo adas-own > /arc/home/ada/private")
    shell(hub, of_ada, "umask 0; echo demos-own > /arc/projects/demo/private")
    assert (place / "home" / "ada" / "private").exists()
    assert (place / "projects" / "demo" / "private").exists()
    # Ada would even help: a link of hers leads nowhere in a session of ben's.
    shell(hub, of_ada, "ln -s /arc/home/ada/private /arc/projects/survey/come-in")
    assert hub.run_in(of_ada, "cat", "/arc/projects/survey/come-in").strip() == "adas-own"

    inside = mounted(hub, of_ben)
    assert set(inside) == {"/arc/home/ben", "/arc/projects/survey"}
    assert inside["/arc/home/ben"].endswith(f"{BELOW}/home/ben")
    assert inside["/arc/projects/survey"].endswith(f"{BELOW}/projects/survey")
    spec = hub.pod(of_ben)["spec"]
    (container,) = spec["containers"]
    arc = [mount for mount in container["volumeMounts"] if mount["name"] == "arc"]
    wanted = {f"{BELOW}/home/ben", f"{BELOW}/projects/survey"}
    assert {mount["subPath"] for mount in arc} == wanted
    assert shell(hub, of_ben, "ls -A /arc/home /arc/projects").split() == [
        *("/arc/home:", "ben"),
        *("/arc/projects:", "survey"),
    ]

    tried = [
        "cat /arc/home/ada/private",
        "cat /arc/projects/demo/private",
        "cat /proc/1/root/arc/home/ada/private /proc/1/root/arc/projects/demo/private",
        "cat /proc/1/cwd/../ada/private",
        "ln -s /arc/home/ada /scratch/home; cat /scratch/home/private",
        "ln -s /arc/projects/demo /scratch/project; cat /scratch/project/private",
        "ln -s /proc/1/root/../../../arc /scratch/root; cat /scratch/root/home/ada/private",
        "cat /arc/projects/survey/come-in",
        "cat /arc/home/ben/../ada/private /arc/projects/survey/../demo/private",
        f"cat {place}/home/ada/private",
        "mkdir /arc/home/ada && cat /arc/home/ada/private",
        "grep -rs s-own /proc/[0-9]*/root/arc /proc/[0-9]*/cwd",
        "find / -name private -path '*arc*' -exec cat {} +",
        "mount --bind / /scratch/all; cat /scratch/all/arc/home/ada/private",
        "unshare --user --map-root-user --mount cat /arc/home/ada/private",
    ]
    for attempt in tried:
        told = shell(hub, of_ben, attempt)
        assert "s-own" not in told, f"{attempt}: {told}"
    # Every process that is to be seen is the session's own.
    own = shell(hub, of_ben, "stat -c %u /proc/[0-9]*").split()
    assert {uid for uid in own if uid.isdigit()} == {str(BEN)}
    ada.stop(of_ada)
    ben.stop(of_ben)


def test_a_project_that_was_not_asked_for_is_not_there(
    hub: ClusterHub, ada: Visitor, fresh: Fresh
) -> None:
    refused = ada.launch(fresh(), container="probe", projects=["sky00"])
    assert refused.status_code == 400
    assert "sky00" in refused.json()["message"]
    session = starts(ada, fresh(), projects=["survey"])
    assert set(mounted(hub, session)) == {"/arc/home/ada", "/arc/projects/survey"}
    with pytest.raises(ClusterError, match="No such file"):
        hub.run_in(session, "ls", "/arc/projects/demo")
    ada.stop(session)


# Scratch.


def scratch(hub: ClusterHub, session: str) -> Path:
    """Give the directory of the node that is a session's scratch."""
    uid = hub.pod(session)["metadata"]["uid"]
    return hub.cluster.run / f"kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/scratch"


def test_scratch_is_of_one_session(
    hub: ClusterHub, cluster: Cluster, ada: Visitor, fresh: Fresh
) -> None:
    first, second = starts(ada, fresh()), starts(ada, fresh())
    assert shell(hub, first, "ls -A /scratch") == ""
    shell(hub, first, "mkdir -p /scratch/a/b; echo first > /scratch/a/b/c; chmod 0 /scratch/a/b")
    # A link out of it must not take along what it leads to.
    shell(hub, first, "echo kept > ~/kept; ln -s ~ /scratch/out; ln ~/kept /scratch/hard")
    assert shell(hub, second, "ls -A /scratch") == "", "siblings have scratches of their own"
    assert hub.run_in(first, "cat", "/scratch/out/kept").strip() == "kept"
    place, other = scratch(hub, first), scratch(hub, second)
    assert {path.name for path in place.iterdir()} == {"a", "out"}, "arc is another file system"
    assert place != other
    ada.stop(first)
    wait_for(lambda: not place.exists(), "scratch to be gone")
    assert other.is_dir(), "and only this one"
    kept = cluster.arc / BELOW / "home" / "ada" / "kept"
    assert kept.read_text() == "kept\n"
    # The same id once more is another session.
    wait_for(lambda: not left(hub, first), "what is left of the first")
    wait_for(lambda: ada.server(first) is None, "its row to go")
    third = starts(ada, fresh())
    assert shell(hub, third, "ls -A /scratch") == ""
    for session in (second, third):
        ada.stop(session)


# Many projects.


def test_sixty_projects_are_all_there(hub: ClusterHub, fresh: Fresh) -> None:
    many, session = hub.sign_in("many"), fresh()
    starts(many, session)
    inside = set(mounted(hub, session))
    assert inside == {"/arc/home/many", *(f"/arc/projects/{sky}" for sky in SIXTY)}
    groups = hub.run_in(session, "id", "-G").split()
    assert groups == ["20012", *(str(31000 + number) for number in range(60))]
    made = shell(hub, session, "for p in /arc/projects/*; do echo x > $p/new; done")
    assert made == "", "each of them can be written to"
    many.stop(session)


@pytest.mark.long
def test_sixty_projects_start_as_soon_as_two(
    hub: ClusterHub, fresh: Fresh, capsys: pytest.CaptureFixture[str]
) -> None:
    """Let two users take turns; the first turn makes directories and does not count."""
    visitors = {name: hub.sign_in(name) for name in ("few", "many")}
    took: dict[str, list[float]] = {name: [] for name in visitors}
    for turn in range(RUNS + 1):
        for name, visitor in visitors.items():
            session = fresh()
            begun = time.monotonic()
            starts(visitor, session)
            if turn:
                took[name].append(time.monotonic() - begun)
            visitor.stop(session)
    median = {name: statistics.median(times) for name, times in took.items()}
    ratio = median["many"] / median["few"]
    with capsys.disabled():
        print(
            "\n| projects | runs | median (s) | fastest | slowest | ratio |\n|---|---|---|---|---|---|"
        )
        for count, name in ((2, "few"), (60, "many")):
            times = took[name]
            told = f"{median[name]:.2f} | {min(times):.2f} | {max(times):.2f}"
            print(f"| {count} | {len(times)} | {told} | {median[name] / median['few']:.2f} |")
    assert ratio <= AIM
