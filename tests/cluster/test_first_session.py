"""An astronomer's first hour on Kubernetes: what she sees, and what the cluster has for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.local.sample_project import provide
from canfar_spawner.site.files import load
from canfar_spawner.site.users_file import Users
from tests.browser.conftest import sign_in
from tests.browser.test_first_session import launch, run_notebook, stop_from_home
from tests.support.cluster_hub import ClusterHub
from tests.support.hub import ROOT, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.environment("astroml")]

ADA, DEMO, SURVEY = 20001, 30001, 30002


def qos(hub: ClusterHub, session: str) -> str:
    """Ask the cluster as a person does."""
    return hub.cluster.kubectl(
        "get",
        "pod",
        hub.pod(session)["metadata"]["name"],
        "--namespace",
        "canfar-sessions",
        "-o",
        "jsonpath={.status.qosClass}",
    )


@pytest.fixture(scope="module", autouse=True)
def _sample(hub: ClusterHub) -> None:
    policy = load(hub.data / "catalogue.yaml", SitePolicy)
    users = load(ROOT / "hub_config" / "users.yaml", Users)
    provide(hub.cluster.run, policy, users, say=print)
    # The first start of an image takes as long as its pull does, which no page waits for.
    admin = hub.sign_in("ben")
    admin.launch("warmup01", container="astroml", projects=["survey"])
    wait_for(lambda: (admin.server("warmup01") or {}).get("ready"), "the image", seconds=900)
    admin.stop("warmup01")


def test_launch_work_and_stop(hub: ClusterHub, page: Page, screenshots: Path) -> None:
    sign_in(page, hub, "ada")
    page.goto(f"{hub.public}/hub/spawn")
    page.screenshot(path=screenshots / "cluster-form.png")
    session = launch(page, hub)
    base = f"{page.url.partition(session)[0]}{session}/"
    assert qos(hub, session) == "Burstable"
    assert hub.run_in(session, "id", "-u").strip() == str(ADA)
    assert hub.run_in(session, "id", "-G").split() == [str(ADA), str(DEMO), str(SURVEY)]
    assert hub.run_in(session, "ls", "-A", "/scratch").strip() == ""

    printed = run_notebook(page, base)
    counted = re.search(r"measured (\d+) of (\d+) sources", printed)
    assert counted
    assert int(counted[1]) >= 0.9 * int(counted[2]) > 0
    page.screenshot(path=screenshots / "cluster-notebook.png")
    results = list((hub.cluster.arc / "home" / "ada").rglob("results.csv"))
    assert results, "the notebook has written its results to the home"
    assert results[0].stat().st_uid == ADA
    assert hub.run_in(session, "ls", "-A", "/scratch").strip(), "and something to scratch"
    hub.run_in(session, "sh", "-c", "umask 0002; echo x > /arc/projects/survey/made-by-ada")
    made = (hub.cluster.arc / "projects" / "survey" / "made-by-ada").stat()
    assert (made.st_uid, made.st_gid) == (ADA, SURVEY)

    page.goto(f"{hub.public}/hub/home")
    expect(page.locator(f"#session-{session}")).to_contain_text("Running")
    page.screenshot(path=screenshots / "cluster-home.png")
    uid = hub.pod(session)["metadata"]["uid"]
    scratch = Path(f"{hub.cluster.run}/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/scratch")
    stop_from_home(page, hub, session)
    wait_for(lambda: session not in hub.launches(), "the pod to be gone")
    assert not scratch.exists(), "and its scratch with it"
    assert results[0].exists(), "home is kept"


def test_fixed_is_guaranteed(hub: ClusterHub, page: Page) -> None:
    sign_in(page, hub, "ada")
    session = launch(page, hub, fixed=("1", "2"))
    assert qos(hub, session) == "Guaranteed"
    page.goto(f"{hub.public}/hub/home")
    expect(page.locator(f"#session-{session}")).to_contain_text("Fixed · 1 core, 2 GB")
    ask = "cd /sys/fs/cgroup; cat memory.max 2>/dev/null || cat memory/memory.limit_in_bytes"
    limit = hub.run_in(session, "sh", "-c", ask)
    assert int(limit) == 2 * 2**30
    stop_from_home(page, hub, session)
