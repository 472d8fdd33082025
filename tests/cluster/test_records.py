"""What the hub does where its record and the cluster disagree."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx

from canfar_spawner.hub.ended import EndedLaunches
from canfar_spawner.kubernetes.manifests import LAUNCH, SESSION
from tests.support.cluster.site import SESSIONS
from tests.support.cluster_hub import ClusterHub
from tests.support.hub import Visitor, wait_for
from tests.support.told import secrets_of


def answer_of(visitor: Visitor, session: str) -> httpx.Response:
    return httpx.get(
        f"{visitor.hub.url}/user/{visitor.name}/{session}/api",
        headers={"Authorization": f"Bearer {visitor.token}"},
        timeout=30,
    )


def test_a_lost_database_loses_no_session(hub: ClusterHub) -> None:
    ada = hub.sign_in("ada")
    assert ada.launch("keepme01", container="notebook").status_code in (201, 202)
    ada.wait_ready("keepme01")
    before = hub.pod("keepme01")["metadata"]["uid"]
    hub.kill()
    (hub.data / "hub" / "jupyterhub.sqlite").unlink()
    hub.start()
    wait_for(
        lambda: "belongs to a launch that this hub does not know" in hub.log.read_text(),
        "the session to be named",
        seconds=180,
    )
    assert hub.pod("keepme01")["metadata"]["uid"] == before, "it goes on"
    again = hub.sign_in("ada")
    # Her visit has it taken up, and does not wait for that: at first the hub knows of none.
    wait_for(lambda: (again.server("keepme01") or {}).get("ready"), "the session to be hers again")
    # JupyterLab asks the hub who its visitor is, with the token it was started with.
    wait_for(lambda: answer_of(again, "keepme01").status_code == 200, "it to let her in")
    assert hub.pod("keepme01")["metadata"]["uid"] == before
    assert "keepme01" in again.client.get("/hub/home").text
    stranger = hub.sign_in("ben")
    assert "keepme01" not in stranger.client.get("/hub/home").text
    again.stop("keepme01")
    wait_for(lambda: not secrets_of(hub, "keepme01"), "its Secret to go")


def test_what_ended_launches_left_is_removed(hub: ClusterHub) -> None:
    ada = hub.sign_in("ada")
    assert ada.launch("leftov01", container="probe").status_code in (201, 202)
    ada.wait_ready("leftov01")
    launch = hub.pod("leftov01")["metadata"]["labels"][LAUNCH]
    hub.kill()
    # As if the hub had forgotten the session and been killed before the cluster was told.
    (hub.data / "hub" / "jupyterhub.sqlite").unlink()
    EndedLaunches(hub.data / "hub" / "ended", lambda: datetime.now(UTC)).add(launch)
    hub.start()
    wait_for(lambda: not hub.pods(f"{SESSION}=leftov01"), "the pod to be removed", seconds=300)
    wait_for(lambda: not secrets_of(hub, "leftov01"), "its Secret to be removed", seconds=300)


def test_what_is_nobodys_is_not_touched(hub: ClusterHub) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "foreign",
            "namespace": SESSIONS,
            "labels": {"hub.canfar.net/instance": "another", LAUNCH: "foreign1-000000000000"},
        },
    }
    hub.cluster.kubectl("apply", "--filename", "-", input=json.dumps(foreign))
    marker = json.loads(json.dumps(foreign))
    marker["metadata"]["name"] = "leftover"
    marker["metadata"]["labels"] = {
        "hub.canfar.net/instance": "canfar",
        LAUNCH: "leftov02-000000000000",
    }
    hub.cluster.kubectl("apply", "--filename", "-", input=json.dumps(marker))
    hub.kill()
    EndedLaunches(hub.data / "hub" / "ended", lambda: datetime.now(UTC)).add(
        marker["metadata"]["labels"][LAUNCH]
    )
    hub.start()

    def names() -> list[str]:
        return [each["metadata"]["name"] for each in hub.cluster.listed("secrets", SESSIONS)]

    wait_for(lambda: "leftover" not in names(), "a sweep", seconds=300)
    assert "foreign" in names()
    hub.cluster.kubectl("delete", "secret", "--namespace", SESSIONS, "foreign")
