from __future__ import annotations

import json
from datetime import timedelta

import pytest

from canfar_spawner.core.resources import Allocation
from canfar_spawner.core.status import Evidence, Life, Phase, Reason, Status
from canfar_spawner.core.view import VIEW_VERSION, SessionView, session_view, typescript
from tests.core.world import NOW, plan

TYPESCRIPT = """\
  api: 1;
  id: string;
  owner: string;
  name: string;
  kind: "notebook" | "desktop" | "carta" | "firefly" | "contributed" | "headless";
  container: string | null;
  title: string;
  version: string;
  image: string;
  allocation: "flexible" | "fixed" | "partly fixed";
  cores_request: string;
  cores_limit: string;
  memory_request_gb: number;
  memory_limit_gb: number;
  gpus: number;
  qos: string;
  projects: string[];
  status: "Pending" | "Running" | "Terminating" | "Completed" | "Failed" | "Unknown";
  phase: "asked" | "queued" | "placing" | "pulling" | "preparing" | "starting" | "ready" | "ending";
"""


def test_the_types_are_what_they_were() -> None:
    written = typescript()
    assert TYPESCRIPT in written
    assert written == typescript()
    assert '  reason: "" | "waiting_for_resources" | ' in written
    for line in ("started: string", "ends: string", "exit_code: number | null", "url: string"):
        assert f"  {line};\n" in written
    assert written.endswith("}\n")


def test_the_types_have_every_field_once() -> None:
    lines = [line for line in typescript().splitlines() if line.startswith("  ")]
    assert [line.split(":")[0].strip() for line in lines] == list(SessionView.model_fields)


def test_a_session_as_json() -> None:
    session = plan({"container": "astroml", "name": "M 31", "cores": 2})
    view = session_view(
        session,
        Evidence(life=Life.STARTING, phase=Phase.PULLING, reason=Reason.PULLING_IMAGE, detail="x"),
        answers=False,
        url="/user/ada/k3vd81qa/",
    )
    shown = json.loads(view.model_dump_json())
    assert shown == {
        "api": VIEW_VERSION,
        "id": "k3vd81qa",
        "owner": "ada",
        "name": "M 31",
        "kind": "notebook",
        "container": "astroml",
        "title": "AstroML",
        "version": "26.11",
        "image": "images.canfar.net/skaha/astroml:26.11",
        "allocation": "partly fixed",
        "cores_request": "2",
        "cores_limit": "2",
        "memory_request_gb": 4,
        "memory_limit_gb": 32,
        "gpus": 0,
        "qos": "Burstable",
        "projects": ["demo", "survey"],
        "status": "Pending",
        "phase": "pulling",
        "reason": "pulling_image",
        "sentence": "The image is being fetched.",
        "advice": "The first start of an image takes longer than the next.",
        "detail": "x",
        "url": "/user/ada/k3vd81qa/",
        "started": "2026-11-01T12:00:00Z",
        "ends": "2026-11-05T12:00:00Z",
        "exit_code": None,
    }
    assert SessionView.model_validate(shown) == view
    assert view.ends - NOW == timedelta(days=4)


@pytest.mark.parametrize(
    ("kind", "answers", "status"),
    [
        ("notebook", False, Status.PENDING),
        ("notebook", True, Status.RUNNING),
        ("headless", False, Status.RUNNING),
    ],
)
def test_a_batch_job_needs_no_address(kind: str, answers: bool, status: Status) -> None:  # noqa: FBT001
    session = plan({"container": "astroml", "kind": kind})
    view = session_view(session, Evidence(life=Life.RUNNING), answers=answers, url="")
    assert view.status is status


@pytest.mark.parametrize(
    ("options", "allocation"),
    [
        ({}, Allocation.FLEXIBLE),
        ({"cores": 2, "memory": 4}, Allocation.FIXED),
        ({"memory": 4}, Allocation.PARTLY_FIXED),
    ],
)
def test_sizes_are_shown_in_gb(options: dict[str, object], allocation: Allocation) -> None:
    session = plan({"container": "astroml", **options})
    view = session_view(session, Evidence(life=Life.RUNNING), answers=True, url="")
    assert view.allocation is allocation
    assert view.memory_limit_gb == (4 if "memory" in options else 32)
