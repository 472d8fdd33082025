"""Whom a session runs as, what it is given, and that it can be nobody else, on the real cluster."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conftest import Need
from tests.support.cluster import Cluster, images, site
from tests.support.cluster_hub import ClusterHub
from tests.support.hub import Visitor, wait_for
from tests.support.told import fails, left, secrets_of

pytestmark = pytest.mark.cluster

Fresh = Callable[[], str]
ADA, BEN = 20001, 20002
DEMO, SURVEY = 30001, 30002
SECRET_GROUP = 30077
"""The hostile image has a group of this number with ada and ben in it."""
PROBE = f"{images.REGISTRY}/canfar-hub/probe:1"
HARD = {
    "QUOTES": 'it\'s "quoted" `so` \\ and \\\\',
    "LINES": "one\ntwo\r\n\n three \n",
    "DOLLARS": "$(VAR) $$(VAR) $(QUOTES) ${HOME} $HOME $$",
    "BRACES": "{username} {servername} {{x}} {port} {",
    "MARKS": "a=b:c#d;e&f|g<h>i*j?k[l]~m!n%o^p",
    "YAML": "- yes: !!python/object\n# &a *a",
    "SIGNS": "é ☄ 𝄞 \u202e \x01\x7f",
    "EMPTY": "",
    "BLANK": " \t ",
    "VAR": "to be put in nowhere",
    "LONG": "0123456789abcdef" * 2048,
}
# Read as the kernel has it: a shell would change what is no name of a variable to it.
_STATUS = """
import json
fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({name: value.split() for name, value in fields.items()}))
"""
_LISTENING = """
import json
found = []
for family in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
    try:
        lines = open(f"/proc/net/{family}").readlines()[1:]
    except FileNotFoundError:
        continue
    for line in lines:
        local, state = line.split()[1], line.split()[3]
        if state == "0A" or not family.startswith("tcp"):
            found.append([family, int(local.rpartition(":")[2], 16)])
print(json.dumps(found))
"""
_ASK_API = """
import json, ssl, sys, urllib.error, urllib.request
found = {}
for path in ("/api/v1/namespaces/canfar-sessions/secrets", "/api/v1/namespaces/canfar-sessions/pods",
             "/api/v1/nodes", "/apis/batch/v1/namespaces/canfar-storage/jobs"):
    try:
        context = ssl._create_unverified_context()
        with urllib.request.urlopen(f"https://{sys.argv[1]}{path}", context=context, timeout=20) as answer:
            found[path] = answer.status
    except urllib.error.HTTPError as error:
        found[path] = error.code
print(json.dumps(found))
"""


def starts(visitor: Visitor, session: str, **options: object) -> str:
    """Launch a session, wait until it answers and give its id."""
    chosen = {"container": "probe"} if "image" not in options else {}
    answer = visitor.launch(session, **chosen, **options)
    assert answer.status_code in (201, 202), answer.text
    visitor.wait_ready(session)
    return session


def python(hub: ClusterHub, session: str, code: str, *words: str) -> Any:
    """Run Python in a session and read what it printed."""
    return json.loads(hub.run_in(session, "python3", "-c", code, *words))


def environ(hub: ClusterHub, session: str) -> dict[bytes, bytes]:
    """Give the environment of the session's program to the byte."""
    text = hub.run_in(session, "base64", "-w0", "/proc/1/environ")
    pairs = base64.b64decode(text).rstrip(b"\0").split(b"\0")
    return {name: value for name, _, value in (pair.partition(b"=") for pair in pairs)}


def token_of(hub: ClusterHub, session: str) -> str:
    """Give the token that a session was given."""
    (secret,) = secrets_of(hub, session).values()
    return base64.b64decode(secret["data"]["env.JUPYTERHUB_API_TOKEN"]).decode()


def ask(hub: ClusterHub, token: str, method: str, path: str, **arguments: Any) -> int:
    """Call the hub's API with a token and give the status."""
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{hub.url}/hub/api{path}"
    return httpx.request(method, url, headers=headers, timeout=60, **arguments).status_code


ALIVE = {"last_activity": "2026-01-01T00:00:00Z", "servers": {}}


# Whom it runs as.


@pytest.fixture(scope="module")
def hostile(need: Need) -> str:
    """An image that lists the demo users in groups of others, and has programs that become root."""
    how = "build it with: python3 -m tests.support.cluster.images hostile"
    need("image-hostile", images.is_ready("hostile"), how)
    return images.reference("hostile")


@pytest.mark.parametrize("image", ["probe", "hostile"])
def test_a_session_is_its_owner_and_nobody_else(
    hub: ClusterHub, ada: Visitor, ben: Visitor, fresh: Fresh, hostile: str, image: str
) -> None:
    chosen = {"image": hostile, "kind": "notebook"} if image == "hostile" else {}
    mine, bens = starts(ada, fresh(), **chosen), starts(ben, fresh(), **chosen)
    for session, uid, groups in ((mine, ADA, [DEMO, SURVEY]), (bens, BEN, [SURVEY])):
        assert hub.run_in(session, "id", "-u").strip() == str(uid)
        assert hub.run_in(session, "id", "-g").strip() == str(uid)
        assert hub.run_in(session, "id", "-G").split() == [str(gid) for gid in (uid, *groups)]
        status = python(hub, session, _STATUS)
        assert status["Uid"] == [str(uid)] * 4
        assert status["Gid"] == [str(uid)] * 4
        assert {int(gid) for gid in status["Groups"]} <= {uid, *groups}
        assert status["NoNewPrivs"] == ["1"]
        assert status["Seccomp"] == ["2"]
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[capabilities][0], 16) == 0, capabilities
    # The program itself, not only what is run beside it.
    first = python(hub, bens, _STATUS.replace("/self/", "/1/"))
    assert (first["Uid"], first["NoNewPrivs"]) == ([str(BEN)] * 4, ["1"])

    # On a disk that ben may walk through, only the group keeps him out.
    survey = hub.cluster.arc / "projects" / "survey"
    for name, gid in (("of-demo", DEMO), ("of-secret", SECRET_GROUP), ("of-survey", SURVEY)):
        file = survey / name
        file.write_text(f"{name}\n")
        os.chown(file, ADA, gid)
        file.chmod(0o640)
    reads = "cat /arc/projects/survey/of-* 2>/dev/null; true"
    assert hub.run_in(bens, "sh", "-c", reads).split() == ["of-survey"]
    if image == "hostile":
        become = "root-id -u; root-sh -p -c 'id -u; cat /etc/shadow' 2>/dev/null; true"
        assert hub.run_in(bens, "sh", "-c", become).split() == [str(BEN)] * 2
        tried = "root-sh -p -c 'cat /arc/projects/survey/of-demo /arc/projects/survey/of-secret'"
        assert "of-" not in hub.run_in(bens, "sh", "-c", f"{tried} 2>/dev/null; true")
        passwd = hub.run_in(bens, "cat", "/etc/passwd")
        assert [line.split(":")[0] for line in passwd.split()] == ["root", "ben", "nobody"]
    ada.stop(mine)
    ben.stop(bens)


def test_the_hostile_image_would_get_what_it_wants_elsewhere(
    cluster: Cluster, hostile: str, fresh: Fresh
) -> None:
    """What the test above relies on: without our settings the same image has its way."""
    name = f"hostile-{fresh()}"
    command = ["sh", "-c", "id -G; root-id -u; sleep 600"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "securityContext": {"runAsUser": BEN, "runAsGroup": BEN},
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "notebook", "image": hostile, "command": command}],
        },
    }
    cluster.kubectl("create", "--filename", "-", input=json.dumps(pod))
    try:
        told: str = wait_for(
            lambda: (log := _log(cluster, name)).count("\n") >= 2 and log, "the pod's words"
        )
    finally:
        cluster.kubectl("delete", "pod", name, "--namespace", "default")
    groups, root = told.splitlines()
    assert {int(gid) for gid in groups.split()} == {BEN, DEMO, SECRET_GROUP}
    assert root == "0"


def _log(cluster: Cluster, name: str) -> str:
    text = cluster.kubectl("get", "pod", name, "--namespace", "default", "--output", "json")
    if json.loads(text)["status"]["phase"] != "Running":
        return ""
    return cluster.kubectl("logs", name, "--namespace", "default")


def test_a_session_has_no_account_of_the_cluster_and_one_open_port(
    hub: ClusterHub, ada: Visitor, fresh: Fresh
) -> None:
    session = starts(ada, fresh())
    where = "ls -d /var/run/secrets /run/secrets/kubernetes.io 2>/dev/null; true"
    assert hub.run_in(session, "sh", "-c", where) == ""
    answers = python(hub, session, _ASK_API, f"{hub.cluster.addresses.node}:6443")
    assert len(answers) == 4
    assert set(answers.values()) <= {401, 403}
    assert python(hub, session, _LISTENING) == [["tcp", 8888]]
    ada.stop(session)


# What it is given.


def test_variables_arrive_to_the_byte(hub: ClusterHub, ada: Visitor, fresh: Fresh) -> None:
    session = starts(ada, fresh(), env=HARD)
    found = environ(hub, session)
    for name, value in HARD.items():
        assert found[name.encode()] == value.encode(), name
    assert found[b"HOME"] == b"/arc/home/ada"
    assert found[b"CANFAR_SESSION_ID"] == session.encode()
    pod = hub.pod(session)
    (container,) = pod["spec"]["containers"]
    assert all("value" not in each for each in container["env"]), "every value is in the Secret"
    shown = json.dumps(pod) + hub.cluster.kubectl(
        *("describe", "pods,secrets,events", "--namespace", site.SESSIONS)
    )
    for secret in (HARD["LINES"], HARD["VAR"], HARD["LONG"], token_of(hub, session)):
        assert json.dumps(secret)[1:-1] not in shown
        assert secret not in shown
    ada.stop(session)


@pytest.mark.parametrize(
    "name",
    ["JUPYTERHUB_API_TOKEN", "JUPYTERHUB_USER", "LD_PRELOAD", "PATH", "HOME", "CANFAR_CORES"],
)
def test_names_of_the_platform_are_refused(
    hub: ClusterHub, ada: Visitor, fresh: Fresh, name: str
) -> None:
    session = fresh()
    answer = ada.launch(session, container="probe", env={name: "x"})
    assert answer.status_code == 400
    assert f"The variable {name} is set by the platform" in answer.json()["message"]
    form = ada.launch_by_form(session, {"container": "probe", "env": f"{name}=x"})
    assert form.status_code == 400
    assert f"The variable {name} is set by the platform" in form.text
    assert not left(hub, session)


def test_too_many_variables_are_refused_and_leave_nothing(
    hub: ClusterHub, ada: Visitor, fresh: Fresh
) -> None:
    session = fresh()
    tokens = "select count(*) from api_tokens"
    before = hub.rows(tokens)
    env = {f"BIG{number}": "x" * 32_000 for number in range(25)}
    told = fails(ada, session, seconds=60, container="probe", env=env)
    assert "The session's variables are too large: together at most 600 kB." in told.sentence
    assert "files of your home" in told.sentence
    assert not left(hub, session)
    server = ada.server(session)
    assert server is not None
    assert not server["ready"], "its row is kept for a while, to say why"
    wait_for(lambda: hub.rows(tokens) == before, "the token that was made for it to go")
    # What is just below it runs.
    env = {f"BIG{number}": "x" * 32_000 for number in range(18)}
    below = starts(ada, fresh(), env=env)
    assert environ(hub, below)[b"BIG17"] == b"x" * 32_000
    ada.stop(below)


# What its token can do.


def test_a_token_of_a_session_tells_activity_and_nothing_else(
    hub: ClusterHub, ada: Visitor, ben: Visitor, fresh: Fresh
) -> None:
    session, sibling, bens = starts(ada, fresh()), starts(ada, fresh()), starts(ben, fresh())
    token = token_of(hub, session)
    assert ask(hub, token, "POST", "/users/ada/activity", json=ALIVE) == 200
    new = {"user_options": {"container": "probe"}}
    own = f"/users/ada/servers/{session}"
    refused: list[tuple[str, str, Any]] = [
        ("POST", f"/users/ada/servers/{fresh()}", new),
        ("DELETE", own, None),
        ("DELETE", f"/users/ada/servers/{sibling}", None),
        ("POST", f"/users/ben/servers/{fresh()}", new),
        ("DELETE", f"/users/ben/servers/{bens}", None),
        ("POST", "/users/ben/activity", ALIVE),
        ("GET", "/users", None),
        ("GET", "/users/ben", None),
        ("GET", "/users/ada/tokens", None),
        ("POST", "/users/ada/tokens", {}),
        ("PATCH", "/users/ada", {"admin": True}),
        ("POST", "/users/eve", None),
        ("GET", "/groups", None),
        ("GET", "/services", None),
        ("GET", "/proxy", None),
        ("POST", "/shutdown", {}),
        ("POST", f"/shares/ada/{session}", {"user": "ben"}),
        ("POST", f"/share-codes/ada/{session}", {}),
    ]
    for method, path, body in refused:
        status = ask(hub, token, method, path, **({} if body is None else {"json": body}))
        assert status in (403, 404), f"{method} {path}: {status}"
    assert set(hub.launches()) >= {session, sibling, bens}
    for visitor, each in ((ada, session), (ada, sibling), (ben, bens)):
        visitor.stop(each)


def test_what_a_session_was_given_ends_with_it(hub: ClusterHub, ada: Visitor, fresh: Fresh) -> None:
    session, other = starts(ada, fresh()), starts(ada, fresh())
    ended, alive = token_of(hub, session), token_of(hub, other)
    assert ask(hub, ended, "POST", "/users/ada/activity", json=ALIVE) == 200
    ada.stop(session)
    wait_for(
        lambda: ask(hub, ended, "POST", "/users/ada/activity", json=ALIVE) == 403,
        "the token to be worth nothing",
        seconds=5,
    )
    wait_for(lambda: not left(hub, session), "its Secret to go", seconds=10)
    hub.end()
    hub.start()
    assert ask(hub, ended, "POST", "/users/ada/activity", json=ALIVE) == 403
    assert ask(hub, alive, "POST", "/users/ada/activity", json=ALIVE) == 200, "it runs on"
    ada.wait_ready(other)
    ada.stop(other)


# Images by reference.


def test_an_image_by_reference_runs(hub: ClusterHub, ada: Visitor, fresh: Fresh) -> None:
    session = starts(ada, fresh(), image=PROBE, kind="notebook")
    (container,) = hub.pod(session)["spec"]["containers"]
    assert container["image"] == PROBE
    url = f"{hub.url}/user/ada/{session}/lab"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {ada.token}"}, timeout=30)
    assert answer.json()["session"] == session
    ada.stop(session)


@pytest.mark.parametrize(
    "image",
    [
        "docker.io/library/busybox:1",
        "registry.example.org/others/probe:1",
        "registry.example.org.evil.org/canfar-hub/probe:1",
        "registry.example.org/canfar-hub/../others/probe:1",
        "registry.example.org/canfar-hub-too/probe:1",
    ],
)
def test_an_image_from_elsewhere_is_refused_on_every_route(
    hub: ClusterHub, ada: Visitor, fresh: Fresh, image: str
) -> None:
    session = fresh()
    by_api = ada.launch(session, image=image, kind="notebook")
    by_form = ada.launch_by_form(session, {"image": image, "kind": "notebook"})
    assert by_api.status_code in (400, 403), by_api.text
    assert by_form.status_code in (400, 403), by_form.text
    assert not left(hub, session)
    assert ada.server(session) is None
