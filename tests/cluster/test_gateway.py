"""Sessions behind the gateway, as pods: signed in by one click, fenced, and ended by their own end."""

from __future__ import annotations

import base64
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from canfar_spawner.core.gateway import is_hubs
from canfar_spawner.core.status import REASONS, Reason
from canfar_spawner.kubernetes.sidecar import MEMORY
from tests.conftest import Need
from tests.support.cluster import Cluster, images, site
from tests.support.cluster_hub import ClusterHub, running_cluster_hub
from tests.support.guest import enter_page
from tests.support.hub import ROOT, Visitor, wait_for
from tests.support.told import ended, secrets_of
from tests.support.v1 import V1

pytestmark = pytest.mark.cluster

Fresh = Callable[[], str]
GIB = 2**30
PROBE = "registry.example.org/canfar-hub/probe:1"
# Serves, and takes all memory there is when it is asked to.
GLUTTON = """
import sys
sys.path.insert(0, "/opt/probe")
import http.server, probe

class Glutton(probe.Probe):
    def do_GET(self):
        if self.path == "/eat":
            hoard = []
            while True:
                hoard.append(b"x" * 2**24)
        super().do_GET()

http.server.ThreadingHTTPServer(("0.0.0.0", 5000), Glutton).serve_forever()
"""


def catalogue() -> dict[str, Any]:
    content = site.catalogue()
    entry = site.probe("glutton", kinds=["contributed"], entry="gateway")
    entry["kubespawner_override"] = {"cmd": ["python3", "-c", GLUTTON]}
    content["catalogue"]["containers"].append(entry)
    return content


@pytest.fixture(scope="module", autouse=True)
def _built(need: Need) -> None:
    for name in ("gateway", "notebook", "probe", "webfs"):
        how = f"build it with: python3 -m tests.support.cluster.images {name}"
        need(f"image-{name}", images.is_ready(name), how)


@pytest.fixture(scope="module")
def hub(data_directory: Path, cluster: Cluster) -> Iterator[ClusterHub]:
    with running_cluster_hub(data_directory, cluster=cluster, catalogue=catalogue()) as found:
        yield found


@pytest.fixture(scope="module")
def ada(hub: ClusterHub) -> Visitor:
    return hub.sign_in("ada")


def starts(visitor: Visitor, session: str, **options: object) -> dict[str, Any]:
    """Launch a session, wait until it answers and give its pod."""
    answer = visitor.launch(session, name=session, **options)
    assert answer.status_code in (201, 202), answer.text
    visitor.wait_ready(session)
    assert isinstance(visitor.hub, ClusterHub)
    return visitor.hub.pod(session)


def asked(visitor: Visitor, session: str, path: str = "") -> httpx.Response:
    """Ask a session as a script does."""
    return httpx.get(
        f"{visitor.hub.url}/user/{visitor.name}/{session}/{path}",
        headers={"Authorization": f"Bearer {visitor.token}"},
        timeout=60,
    )


def variables(hub: ClusterHub, session: str) -> dict[str, str]:
    """Give the environment of the session's program."""
    text = hub.run_in(session, "base64", "-w0", "/proc/1/environ")
    pairs = base64.b64decode(text).decode().rstrip("\0").split("\0")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def gateway_of(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = (s for s in pod["status"]["initContainerStatuses"] if s["name"] == "gateway")
    return dict(found)


def test_one_click_and_she_is_in_and_the_program_knows_nothing_of_the_hub(
    hub: ClusterHub, ada: Visitor, fresh: Fresh
) -> None:
    session = fresh()
    pod = starts(ada, session, container="board")
    path = f"/user/ada/{session}/"
    # As a browser goes: to the hub and back, with no question for an owner.
    page = enter_page(ada, f"{path}deep?a=b")
    assert {"path": "/deep?a=b", "session": session}.items() <= page.json().items()
    assert asked(ada, session, "data").json()["path"] == "/data"
    nobody = httpx.get(f"{hub.url}{path}", timeout=60)
    assert nobody.status_code in (302, 401, 403)
    assert session not in nobody.text, "nothing of the application's"

    # What the program has, and what it has not.
    own = variables(hub, session)
    assert not [name for name in own if is_hubs(name) or name.startswith("CANFAR_GATEWAY")]
    assert own["CANFAR_SESSION_ID"] == session
    (secret,) = secrets_of(hub, session).values()
    tokens = [
        base64.b64decode(secret["data"][f"gateway.{name}"]).decode()
        for name in ("JUPYTERHUB_API_TOKEN", "CANFAR_GATEWAY_SECRET")
    ]
    assert all(len(token) >= 32 and token not in own.values() for token in tokens)
    look = (
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; find /run/canfar /etc -type f 2>/dev/null; true"
    )
    seen = hub.run_in(session, "sh", "-c", look)
    assert "probe" in seen or "jupyterhub-singleuser" in seen
    assert "canfar-gateway" not in seen
    assert "canfar_spawner" not in seen

    # The two together are what was promised.
    assert pod["status"]["qosClass"] == "Burstable"
    context = gateway_of(pod), pod["spec"]["initContainers"][0]["securityContext"]
    assert context[1]["readOnlyRootFilesystem"] is True
    ask = "cd /sys/fs/cgroup; cat memory.max 2>/dev/null || cat memory/memory.limit_in_bytes"
    assert int(hub.run_in(session, "sh", "-c", ask)) == 4 * GIB - MEMORY

    # Killed, the gateway comes back alone; page, program and session are as they were.
    began = pod["status"]["containerStatuses"][0]["containerID"]
    hub.kill_in(session, "gateway")
    wait_for(lambda: gateway_of(hub.pod(session))["restartCount"], "the gateway to come back")
    wait_for(lambda: asked(ada, session).status_code == 200, "the session to answer again")
    assert ada.client.get(f"{path}again").json()["path"] == "/again", "still signed in"
    assert hub.pod(session)["status"]["containerStatuses"][0]["containerID"] == began
    assert (ada.server(session) or {}).get("ready") is True

    # Killed, the program is the session's end, with its exit code.
    hub.kill_in(session, "notebook")
    wait_for(lambda: not (ada.server(session) or {}).get("ready"), "the hub to see the end")
    v1 = V1.of(ada)
    story = wait_for(
        lambda: (
            (answer := v1.call("GET", f"/v1/history/{session}")).status_code == 200
            and (found := answer.json()).get("exit_code") is not None
            and found
        ),
        "the history to have its end",
    )
    assert story["exit_code"] == 137, story
    wait_for(lambda: session not in hub.launches(), "the pod to go")
    assert tokens[0] not in hub.log.read_text()


def test_a_program_that_takes_too_much_is_told_of_and_a_fixed_one_is_guaranteed(
    hub: ClusterHub, ada: Visitor, fresh: Fresh
) -> None:
    session = fresh()
    pod = starts(ada, session, container="glutton", mode="fixed", cores=0.5, memory=1)
    assert pod["status"]["qosClass"] == "Guaranteed"
    log = hub.cluster.kubectl("logs", "-n", "canfar-sessions", pod["metadata"]["name"])
    assert "gateway" not in log.lower()
    assert asked(ada, session, "eat").status_code in (502, 503, 504)
    told = wait_for(lambda: ended(ada, session), "home to tell of the end")
    assert REASONS[Reason.OUT_OF_MEMORY].sentence in told


def test_a_private_image_by_reference_is_a_contributed_session(
    hub: ClusterHub, ada: Visitor, fresh: Fresh
) -> None:
    session, where = fresh(), hub.cluster.addresses
    account = {"registry_user": where.private_user, "registry_secret": where.private_secret}
    # By its digest it is no container of the catalogue's.
    image = f"private.example.org/canfar-hub/probe@{images.in_registry('probe')}"
    pod = starts(ada, session, image=image, kind="contributed", **account)
    assert asked(ada, session, "x").json()["path"] == "/x"
    name = pod["metadata"]["name"]
    assert {"name": f"{name}-registry"} in pod["spec"]["imagePullSecrets"]
    assert set(secrets_of(hub, session)) == {name, f"{name}-registry"}
    ada.stop(session)
    elsewhere = ada.launch(fresh(), image="docker.io/library/x:1", kind="contributed")
    assert elsewhere.status_code in (400, 403), elsewhere.text


def test_a_notebook_image_by_reference_runs_jupyterlab_behind_the_gateway(
    hub: ClusterHub, ada: Visitor, fresh: Fresh
) -> None:
    """Nothing of the platform's is asked of it but ``jupyter lab``."""
    session = fresh()
    image = f"registry.example.org/canfar-hub/notebook@{images.in_registry('notebook')}"
    starts(ada, session, image=image, kind="notebook")
    path = f"/user/ada/{session}/"
    assert enter_page(ada, f"{path}api/kernels").json() == [], "one click and she is in"
    config = (
        asked(ada, session, "lab")
        .text.partition('type="application/json">')[2]
        .partition("</script>")[0]
    )
    assert json.loads(config)["baseUrl"] == path
    own = variables(hub, session)
    assert not [name for name in own if is_hubs(name)]
    # JupyterLab tells its own token to whoever is in; it opens nothing to whoever is not.
    for headers in ({}, {"Authorization": f"token {own['JUPYTER_TOKEN']}"}):
        refused = httpx.get(f"{hub.url}{path}api/kernels", headers=headers, timeout=60)
        assert refused.status_code in (401, 403)
    ada.stop(session)


def blob(digest: str) -> Path:
    algorithm, _, number = digest.partition(":")
    blobs = images.registry_directory() / "docker/registry/v2/blobs"
    return blobs / algorithm / number[:2] / number / "data"


def image_of(name: str) -> tuple[dict[str, Any], list[str]]:
    """Give what an image says of itself, and the names of files that its last layer has."""
    manifest = json.loads(blob(images.in_registry(name)).read_text())
    with tarfile.open(blob(manifest["layers"][-1]["digest"])) as layer:
        files = layer.getnames()
    return json.loads(blob(manifest["config"]["digest"]).read_text()), files


def test_a_base_and_one_package_of_debians_are_a_session_by_five_lines(
    data_directory: Path, cluster: Cluster, fresh: Fresh
) -> None:
    steps = (ROOT / "tests/support/cluster/webfs/Dockerfile").read_text().splitlines()
    assert [step.split()[0] for step in steps] == ["ARG", "FROM", "RUN", "CMD"]
    config, files = image_of("webfs")
    assert config["config"]["Cmd"][0] == "webfsd"
    assert not config["config"].get("Entrypoint")
    assert {entry.partition("=")[0] for entry in config["config"]["Env"]} == {"PATH"}
    assert any(name.endswith("bin/webfsd") for name in files)
    assert not [name for name in files if "canfar" in name or "jupyter" in name]
    assert len(site.FIVE_LINES.splitlines()) == 5

    # Here with an origin for each user.
    settings = {"cluster": cluster, "host": "hub.localhost", "catalogue": catalogue()}
    with running_cluster_hub(data_directory.with_name("own"), **settings) as own:
        ben, session = own.sign_in("ben"), fresh()
        pod = starts(ben, session, container="docs")
        page = enter_page(ben, f"/user/ben/{session}/")
        assert str(page.url).startswith(f"http://ben.hub.localhost:{own.port}/user/ben/{session}/")
        assert "debianutils/" in page.text
        (program,) = pod["spec"]["containers"]
        assert not {"command", "args", "workingDir"} & set(program)
        ben.stop(session)
