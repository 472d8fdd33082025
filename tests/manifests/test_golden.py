"""The pods of this project, as a whole and by what must never be otherwise."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canfar_spawner.core.gateway import PREFIX, is_hubs
from canfar_spawner.core.kinds import KINDS, SessionKind
from canfar_spawner.core.resources import Allocation
from canfar_spawner.kubernetes import manifests as made
from canfar_spawner.kubernetes.sidecar import MEMORY
from canfar_spawner.kubernetes.told import PORT, Told, listening, needs_gateways_port, told
from tests.core.world import ADA, SITE, STAFF, plan
from tests.manifests.golden import FIXED, GOLDEN, MANY, SECRETS, manifests, written

NAMES = tuple(manifests())
PODS = tuple(name for name, each in manifests().items() if each["kind"] == "Pod")


def program(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(
        each for each in pod["spec"]["containers"] if each["name"] == "notebook"
    )
    return found


def test_every_file_belongs_to_an_object() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_object_is_as_it_was(name: str) -> None:
    # After a change that is meant: python -m tests.manifests.golden
    assert written(manifests()[name]) == (GOLDEN / f"{name}.json").read_text()


@pytest.mark.parametrize("name", PODS)
def test_no_secret_is_in_a_pod(name: str) -> None:
    text = (GOLDEN / f"{name}.json").read_text()
    assert SECRETS.application is not None
    assert SECRETS.application.get_secret_value() not in text
    for variable, value in SECRETS.env:
        # Where a session is reached is no secret, and may be said to its program.
        assert value.get_secret_value() not in text or variable == PREFIX
        assert variable in text
    spec = json.loads(text)["spec"]
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        assert not [each for each in container["env"] if "value" in each]


@pytest.mark.parametrize("name", PODS)
def test_identity_is_the_plans_and_no_privilege_is_left(name: str) -> None:
    pod = manifests()[name]
    context = pod["spec"]["securityContext"]
    identity = {"many-projects": MANY, "notebook": STAFF, "notebook-fixed": STAFF}.get(name, ADA)
    assert context["runAsUser"] == identity.uid
    assert pod["metadata"]["labels"][made.UID] == str(identity.uid)
    assert context["supplementalGroups"] == list(identity.gids)
    assert context["supplementalGroupsPolicy"] == "Strict"
    assert "fsGroup" not in context
    for container in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", ())):
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_traits_of_a_site_cannot_widen_what_a_pod_may() -> None:
    planned = plan({"container": "astroml"})
    pod = made.bare_pod(planned)
    pod["metadata"]["labels"] = {made.UID: "0", "site": "kept"}
    pod["spec"] |= {
        "serviceAccountName": "hub",
        "automountServiceAccountToken": True,
        "securityContext": {"fsGroup": 100, "runAsUser": 0, "sysctls": [{"name": "a"}]},
        "volumes": [{"name": "arc", "hostPath": {"path": "/"}}, {"name": "more", "emptyDir": {}}],
        "initContainers": [{"name": "first", "securityContext": {"privileged": True}}],
        "nodeSelector": {"disk": "fast"},
    }
    program(pod)["securityContext"] = {"runAsUser": 0, "capabilities": {"add": ["SYS_ADMIN"]}}
    program(pod)["env"] = [{"name": "LEAK", "value": "x"}, {"name": "NODE", "valueFrom": {"a": 1}}]
    done = made.finish(pod, planned, SITE, told=Told({"HOME": "/"}))
    spec = done["spec"]
    assert spec["securityContext"]["runAsUser"] == ADA.uid
    assert set(spec["securityContext"]) & {"fsGroup", "sysctls"} == set()
    assert spec["automountServiceAccountToken"] is False
    assert spec["initContainers"][0]["securityContext"]["privileged"] is False
    assert program(done)["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert [each["name"] for each in program(done)["env"]] == ["NODE", "HOME"]
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume]
    assert {"name": "more", "emptyDir": {}} in spec["volumes"]
    assert spec["nodeSelector"] == {"disk": "fast"}
    assert done["metadata"]["labels"]["site"] == "kept"
    assert done["metadata"]["labels"][made.UID] == str(ADA.uid)


def test_a_fixed_pod_asks_for_what_it_is_limited_to() -> None:
    resources = manifests()["fixed"]["spec"]["resources"]
    assert resources["requests"] == resources["limits"] == {"cpu": "2", "memory": "8Gi"}


def test_the_programs_requests_never_exceed_the_pods() -> None:
    # The API would refuse it: a limit alone stands for a request of the same size.
    pod = manifests()["flexible"]
    container = program(pod)["resources"]
    assert container["requests"]["memory"] == pod["spec"]["resources"]["requests"]["memory"]
    assert container["limits"]["memory"] == pod["spec"]["resources"]["limits"]["memory"]


# The gateway, and the program behind it.

BEHIND = tuple(
    name
    for name in PODS
    if any(
        each["name"] == "gateway" for each in manifests()[name]["spec"].get("initContainers", ())
    )
)


def gateway(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(
        each for each in pod["spec"]["initContainers"] if each["name"] == "gateway"
    )
    return found


def keys(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in container["env"]}


def test_every_kind_that_people_open_stands_behind_it_somewhere() -> None:
    kinds = {manifests()[name]["metadata"]["labels"][made.KIND] for name in BEHIND}
    assert kinds == {kind.value for kind, spec in KINDS.items() if spec.interactive}


@pytest.mark.parametrize("name", BEHIND)
def test_what_opens_the_hub_is_the_gateways_alone(name: str) -> None:
    pod = manifests()[name]
    assert not [each for each in keys(program(pod)) if is_hubs(each)]
    assert all(key.startswith("env.") for key in keys(program(pod)).values())
    assert "JUPYTERHUB_API_TOKEN" in keys(gateway(pod))
    assert all(key.startswith("gateway.") for key in keys(gateway(pod)).values())
    assert {each["name"] for each in gateway(pod)["volumeMounts"]} == {"gateway"}
    for volume in pod["spec"]["volumes"]:
        for item in volume.get("secret", {}).get("items", ()):
            assert item["key"].startswith("file.")


@pytest.mark.parametrize("name", BEHIND)
def test_gateway_and_program_have_together_what_was_asked(name: str) -> None:
    spec = manifests()[name]["spec"]
    sidecar, own = gateway({"spec": spec}), program({"spec": spec})
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["resources"]["requests"] == sidecar["resources"]["limits"]
    for bound in ("requests", "limits"):
        parts = [each["resources"][bound]["memory"] for each in (sidecar, own)]
        assert sum(map(int, parts)) == int(spec["resources"][bound]["memory"][:-2]) * 2**30
    assert int(sidecar["resources"]["limits"]["memory"]) == MEMORY


def test_an_images_own_program_is_left_as_the_image_has_it() -> None:
    # Its command may be named from its own directory.
    assert not {"command", "args", "workingDir"} & set(program(manifests()["contributed"]))


def test_a_command_of_the_site_is_told_where_to_listen_and_begins_with_the_images_program() -> None:
    planned = plan({"container": "pluto"})
    pod = made.bare_pod(planned)
    program(pod)["args"] = ["--port", "{port}", "--base", "{prefix}"]
    done = told(planned, SECRETS, program(pod))
    assert (done.command, done.args[1], done.args[3]) == ((), "5000", "/user/somebody/k3vd81qa/")
    program(pod)["args"] = ["--listen", "{socket}"]
    done = told(planned, SECRETS, program(pod))
    assert json.loads(done.gateway["CANFAR_GATEWAY"])["listening"]["socket"] == done.args[1]


def test_nothing_listens_where_the_gateway_does() -> None:
    for kind in SessionKind:
        if KINDS[kind].interactive:
            planned = plan({"image": "images.canfar.net/skaha/own:1", "kind": kind})
            assert listening(planned).port != PORT
            assert not needs_gateways_port(planned)
    taken = plan({"container": "pluto"}).model_copy(update={"port": PORT})
    assert needs_gateways_port(taken)


def test_equal_plans_make_equal_pods() -> None:
    assert written(manifests()["fixed"]) == written(manifests()["fixed"])
    assert plan(FIXED).resources.allocation is Allocation.FIXED


WORDS = st.text(max_size=60) | st.text("$$()A ", max_size=12)
"""Anything, and often what Kubernetes looks for."""


@given(WORDS, st.lists(WORDS, max_size=4))
def test_words_of_a_command_are_never_expanded(program_text: str, arguments: list[str]) -> None:
    words = (program_text, *arguments)
    planned = plan({"container": "astroml", "kind": "headless", "cmd": "x"}).model_copy(
        update={"command": words}
    )
    container = made.bare_pod(planned)["spec"]["containers"][0]
    given_words = [*container["command"], *container["args"]]
    assert [expanded(word) for word in given_words] == list(words)


def expanded(text: str) -> str:
    """Put variables in as Kubernetes does (third_party/forked/golang/expansion): $$ is one $."""
    result, position = "", 0
    while position < len(text):
        if text[position] == "$" and position + 1 < len(text):
            following = text[position + 1]
            if following == "$":
                result, position = result + "$", position + 2
                continue
            if following == "(" and ")" in text[position + 2 :]:
                end = text.index(")", position + 2)
                result, position = result + "EXPANDED", end + 1
                continue
        result, position = result + text[position], position + 1
    return result


def test_a_secret_gives_its_variables_back() -> None:
    secret = manifests()["secret"]
    assert made.secret_variable(secret, "SURVEY") == "deep = $(HOME)\n"
    assert made.secret_variable(secret, "ABSENT") is None
    assert made.secret_variable(secret, "JUPYTERHUB_API_TOKEN") == "a token"
    behind = manifests()["gateway-secret"]
    assert made.secret_variable(behind, "JUPYTERHUB_API_TOKEN") == "a token"


def test_a_registrys_secret_is_what_the_kubelet_reads() -> None:
    content = base64.b64decode(manifests()["registry-secret"]["data"][".dockerconfigjson"])
    auth = json.loads(content)["auths"]["images.canfar.net"]
    assert (auth["username"], auth["password"]) == ("ada", "a password")
    assert base64.b64decode(auth["auth"]).decode() == "ada:a password"


def test_no_two_launches_share_a_name() -> None:
    pod = manifests()["flexible"]
    assert pod["metadata"]["name"] == manifests()["secret"]["metadata"]["name"]
    assert len(pod["metadata"]["name"]) <= 63


def test_an_image_that_is_not_the_sites_is_asked_for_at_every_start() -> None:
    # Else somebody could have what another user's credentials have brought to the machine.
    def pulled(**options: object) -> str:
        of = plan(options)
        pod = made.finish(made.bare_pod(of), of, SITE, told=Told({}))
        return str(program(pod)["imagePullPolicy"])

    assert pulled(image="images.canfar.net/skaha/own:1", kind="notebook") == "Always"
    assert pulled(container="astroml") == "IfNotPresent"
