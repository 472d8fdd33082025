"""Pods that must not run, each one change away from a pod that may."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.manifests.golden import GOLDEN

Manifest = dict[str, Any]
Change = Callable[[Manifest], None]

# What the policy says, by its first words.
LABELS = "The labels of a session"
NAME = "The name of a session's pod"
OWNER = "The owner's label"
IMAGE = "The image is not from"
IDENTITY = "The pod does not run as the uid"
GROUPS = "Groups come from the pod alone"
ANOTHER = "A container runs as somebody else"
PRIVILEGES = "A container has privileges"
PROFILE = "The seccomp profile"
NODE = "The pod shares the node's"
PLACE = "Sessions run on Linux"
TOKEN = "The pod gets a token"
SECRET = "The pod reads a Secret"
VARIABLE = "A variable of the session"
GATEWAY = "Only the site's gateway"
UNGUARDED = "An application that knows nothing"
OPENS = "What opens the hub"
VOLUME = "A volume is of a kind"
ROOM = "An emptyDir has no sizeLimit"
ARC = "Of arc a session has"
PATH = "A mount takes a path"
LIMITS = "The session has no limits"
FIXED = "A fixed session asks"


def golden(name: str) -> Manifest:
    """Give a golden object, free to be changed."""
    made: Manifest = json.loads((GOLDEN / f"{name}.json").read_text())
    return made


def _step(place: Any, key: str) -> Any:
    return place[int(key)] if isinstance(place, list) else place.setdefault(key, {})


def put(path: str, value: Any) -> Change:
    """Set what a path leads to; ``+`` at its end appends to a list."""
    *way, last = path.split("/")

    def change(pod: Manifest) -> None:
        place: Any = pod
        for key in way[:-1]:
            place = _step(place, key)
        if last == "+":
            if way[-1] not in place:
                place[way[-1]] = []
            place[way[-1]].append(copy.deepcopy(value))
            return
        if way:
            place = _step(place, way[-1])
        place[int(last) if isinstance(place, list) else last] = copy.deepcopy(value)

    return change


def drop(path: str) -> Change:
    """Remove what a path leads to."""
    *way, last = path.split("/")

    def change(pod: Manifest) -> None:
        place: Any = pod
        for key in way:
            place = _step(place, key)
        del place[last]

    return change


def both(*changes: Change) -> Change:
    """Make several changes."""

    def change(pod: Manifest) -> None:
        for each in changes:
            each(pod)

    return change


def label(name: str, value: str) -> Change:
    """Set a label of ours."""

    def change(pod: Manifest) -> None:
        pod["metadata"]["labels"][f"hub.canfar.net/{name}"] = value

    return change


def unlabelled(name: str) -> Change:
    """Remove a label of ours."""

    def change(pod: Manifest) -> None:
        del pod["metadata"]["labels"][f"hub.canfar.net/{name}"]

    return change


def user(name: str) -> Change:
    """Say that the pod is another user's."""

    def change(pod: Manifest) -> None:
        pod["metadata"]["annotations"]["hub.jupyter.org/username"] = name

    return change


def image(reference: str) -> Change:
    """Run another image."""
    return put("spec/containers/0/image", reference)


def volume(source: Manifest) -> Change:
    """Add a volume and see it at /more."""
    return both(
        put("spec/volumes/+", {"name": "more", **source}),
        put("spec/containers/0/volumeMounts/+", {"name": "more", "mountPath": "/more"}),
    )


def arc(mount: Manifest) -> Change:
    """Mount a part of arc."""
    return put("spec/containers/0/volumeMounts/+", {"name": "arc", **mount})


def second(**changes: Any) -> Change:
    """Add a container like one that may run, with changes."""
    container = {
        "name": "second",
        "image": "images.canfar.net/skaha/astroml:26.11",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return put("spec/containers/+", {**container, **changes})


def first(**changes: Any) -> Change:
    """Add an init container; like `second`."""
    container: Manifest = {"spec": {"containers": []}}
    second(**changes)(container)
    return put("spec/initContainers/+", container["spec"]["containers"][0])


def reads(key: str, name: str = "THEIRS") -> Manifest:
    """Give a variable from the session's own Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "k3vd81qa-ada", "key": key}}}


_GATEWAY = "spec/initContainers/0"
_TOKEN_KEY = "gateway.JUPYTERHUB_API_TOKEN"
_CONTEXT = "spec/securityContext"
_PROGRAM = "spec/containers/0/securityContext"
_LOOSE = {"allowPrivilegeEscalation": True, "capabilities": {"drop": ["ALL"]}}
_ADDING = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
}


@dataclass(frozen=True)
class Mutant:
    """A change, and what the policy says to it."""

    change: Change
    says: str
    base: str = "flexible"

    def pod(self) -> Manifest:
        """Give the pod that must not run."""
        made = golden(self.base)
        self.change(made)
        return made


MUTANTS: dict[str, Mutant] = {
    # Privileges.
    "privileged": Mutant(
        both(
            put(f"{_PROGRAM}/privileged", value=True),
            put(f"{_PROGRAM}/allowPrivilegeEscalation", value=True),
        ),
        PRIVILEGES,
    ),
    "privilege escalation": Mutant(
        put(f"{_PROGRAM}/allowPrivilegeEscalation", value=True), PRIVILEGES
    ),
    "privilege escalation by default": Mutant(
        drop(f"{_PROGRAM}/allowPrivilegeEscalation"), PRIVILEGES
    ),
    "a capability": Mutant(put(f"{_PROGRAM}/capabilities/add", ["SYS_ADMIN"]), PRIVILEGES),
    "an allowed capability": Mutant(
        put(f"{_PROGRAM}/capabilities/add", ["NET_BIND_SERVICE"]), PRIVILEGES
    ),
    "capabilities kept": Mutant(drop(f"{_PROGRAM}/capabilities"), PRIVILEGES),
    "some capabilities kept": Mutant(
        put(f"{_PROGRAM}/capabilities", {"drop": ["CHOWN"]}), PRIVILEGES
    ),
    "no security context": Mutant(drop(_PROGRAM), PRIVILEGES),
    "privileged second container": Mutant(second(securityContext={"privileged": True}), PRIVILEGES),
    "privileged init container": Mutant(first(securityContext={"privileged": True}), PRIVILEGES),
    "escalating init container": Mutant(first(securityContext=_LOOSE), PRIVILEGES),
    "capable sidecar": Mutant(first(restartPolicy="Always", securityContext=_ADDING), PRIVILEGES),
    "seccomp unconfined": Mutant(put(f"{_CONTEXT}/seccompProfile/type", "Unconfined"), PROFILE),
    "seccomp left out": Mutant(drop(f"{_CONTEXT}/seccompProfile"), PROFILE),
    "seccomp unconfined in the container": Mutant(
        put(f"{_PROGRAM}/seccompProfile", {"type": "Unconfined"}), PROFILE
    ),
    "AppArmor unconfined": Mutant(
        put(f"{_CONTEXT}/appArmorProfile", {"type": "Unconfined"}), PROFILE
    ),
    "SELinux options": Mutant(
        put(f"{_PROGRAM}/seLinuxOptions", {"type": "spc_t", "level": "s0"}), ANOTHER
    ),
    # Pod Security asks less of pods for Windows.
    "Windows": Mutant(
        both(
            put("spec/os", {"name": "windows"}),
            drop(_CONTEXT),
            drop(_PROGRAM),
            put(f"{_CONTEXT}/runAsNonRoot", value=True),
            drop("spec/resources"),
            put("spec/containers/0/resources", {"limits": {"cpu": "1", "memory": "1Gi"}}),
        ),
        IDENTITY,
    ),
    # The node.
    "host network": Mutant(put("spec/hostNetwork", value=True), NODE),
    "host processes": Mutant(put("spec/hostPID", value=True), NODE),
    "host memory": Mutant(put("spec/hostIPC", value=True), NODE),
    "host port": Mutant(
        put("spec/containers/0/ports", [{"containerPort": 8888, "hostPort": 8888}]), NODE
    ),
    "shared processes": Mutant(put("spec/shareProcessNamespace", value=True), NODE),
    "names of hosts": Mutant(
        put("spec/hostAliases", [{"ip": "192.0.2.1", "hostnames": ["hub"]}]), NODE
    ),
    "placed on a node": Mutant(put("spec/nodeName", "control-plane"), PLACE),
    "priority of the system": Mutant(put("spec/priorityClassName", "system-node-critical"), PLACE),
    "restarted for ever": Mutant(put("spec/restartPolicy", "Always"), PLACE),
    # Identity.
    "uid of the label only": Mutant(label("uid", "5002"), IDENTITY),
    "uid of the pod only": Mutant(put(f"{_CONTEXT}/runAsUser", 5002), IDENTITY),
    "no uid": Mutant(drop(f"{_CONTEXT}/runAsUser"), IDENTITY),
    "root": Mutant(both(put(f"{_CONTEXT}/runAsUser", 0), label("uid", "0")), IDENTITY),
    "uid of the system": Mutant(
        both(put(f"{_CONTEXT}/runAsUser", 999), label("uid", "999")), IDENTITY
    ),
    "group root": Mutant(put(f"{_CONTEXT}/runAsGroup", 0), IDENTITY),
    "group left out": Mutant(drop(f"{_CONTEXT}/runAsGroup"), IDENTITY),
    "further group of the system": Mutant(
        put(f"{_CONTEXT}/supplementalGroups", [7004, 42]), IDENTITY
    ),
    "may be root": Mutant(drop(f"{_CONTEXT}/runAsNonRoot"), IDENTITY),
    "groups of the image": Mutant(drop(f"{_CONTEXT}/supplementalGroupsPolicy"), GROUPS),
    "groups merged": Mutant(put(f"{_CONTEXT}/supplementalGroupsPolicy", "Merge"), GROUPS),
    "fsGroup": Mutant(put(f"{_CONTEXT}/fsGroup", 7004), GROUPS),
    "sysctl": Mutant(
        put(f"{_CONTEXT}/sysctls", [{"name": "net.ipv4.ping_group_range", "value": "0 9"}]),
        GROUPS,
    ),
    "uid of the container": Mutant(put(f"{_PROGRAM}/runAsUser", 5002), ANOTHER),
    "the same uid in the container": Mutant(put(f"{_PROGRAM}/runAsUser", 5001), ANOTHER),
    "group of the container": Mutant(put(f"{_PROGRAM}/runAsGroup", 7006), ANOTHER),
    "container may be root": Mutant(put(f"{_PROGRAM}/runAsNonRoot", value=False), ANOTHER),
    "uid of an init container": Mutant(
        first(securityContext={**_ADDING, "capabilities": {"drop": ["ALL"]}, "runAsUser": 5002}),
        ANOTHER,
    ),
    # Images.
    "foreign registry": Mutant(image("docker.io/library/debian:13"), IMAGE),
    "foreign project": Mutant(image("images.canfar.net/cirada/astroml:1"), IMAGE),
    "longer project": Mutant(image("images.canfar.net/skaha-evil/astroml:1"), IMAGE),
    "longer registry": Mutant(image("images.canfar.net.example.org/skaha/astroml:1"), IMAGE),
    "registry with a port": Mutant(image("images.canfar.net:5000/skaha/astroml:1"), IMAGE),
    "registry left out": Mutant(image("skaha/astroml:1"), IMAGE),
    "project left out": Mutant(image("images.canfar.net/astroml:1"), IMAGE),
    "registry as a project": Mutant(image("docker.io/images.canfar.net/skaha/x:1"), IMAGE),
    "upwards": Mutant(image("images.canfar.net/skaha/../cirada/astroml:1"), IMAGE),
    "upper case": Mutant(image("Images.canfar.net/skaha/astroml:1"), IMAGE),
    "unicode": Mutant(image("images\u2024canfar.net/skaha/astroml:1"), IMAGE),
    "newline": Mutant(image("images.canfar.net/skaha/astroml:1\nx"), IMAGE),
    "foreign second container": Mutant(second(image="docker.io/library/debian:13"), IMAGE),
    "foreign init container": Mutant(first(image="docker.io/library/debian:13"), IMAGE),
    # Tokens and Secrets.
    "token": Mutant(put("spec/automountServiceAccountToken", value=True), TOKEN),
    "token by default": Mutant(drop("spec/automountServiceAccountToken"), TOKEN),
    "account": Mutant(put("spec/serviceAccountName", "site"), TOKEN),
    "projected token": Mutant(
        both(
            put("spec/serviceAccountName", "default"),
            volume({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}),
        ),
        VOLUME,
    ),
    "another's Secret as files": Mutant(volume({"secret": {"secretName": "q3vd81qa-ben"}}), SECRET),
    "another's Secret, projected": Mutant(
        volume({"projected": {"sources": [{"secret": {"name": "q3vd81qa-ben"}}]}}), VOLUME
    ),
    "another's Secret as a variable": Mutant(
        put(
            "spec/containers/0/env/+",
            {
                "name": "THEIRS",
                "valueFrom": {"secretKeyRef": {"name": "q3vd81qa-ben", "key": "env.HOME"}},
            },
        ),
        SECRET,
    ),
    "another's Secret as all variables": Mutant(
        put("spec/containers/0/envFrom", [{"secretRef": {"name": "q3vd81qa-ben"}}]), SECRET
    ),
    "another's Secret in a second container": Mutant(
        second(envFrom=[{"secretRef": {"name": "q3vd81qa-ben"}}]), SECRET
    ),
    "another's registry": Mutant(
        put("spec/imagePullSecrets", [{"name": "q3vd81qa-ben-registry"}]), SECRET
    ),
    "plain variable": Mutant(
        put("spec/containers/0/env/+", {"name": "JUPYTERHUB_API_TOKEN", "value": "x"}), VARIABLE
    ),
    # The gateway.
    **{
        name: Mutant(change, GATEWAY, base="contributed")
        for name, change in {
            "another image as the gateway": put(
                f"{_GATEWAY}/image", "images.canfar.net/skaha/astroml:26.11"
            ),
            "longer name of the gateway's image": put(
                f"{_GATEWAY}/image", "registry.example.org/canfar-hub/gateway-evil:1"
            ),
            "another program as the gateway": put(f"{_GATEWAY}/command", ["/bin/sh"]),
            "arguments of the gateway": put(f"{_GATEWAY}/args", ["--help"]),
            "a gateway that runs once": drop(f"{_GATEWAY}/restartPolicy"),
            "a hook of the gateway": put(
                f"{_GATEWAY}/lifecycle", {"preStop": {"exec": {"command": ["id"]}}}
            ),
            "a probe of the gateway": put(
                f"{_GATEWAY}/livenessProbe", {"exec": {"command": ["id"]}}
            ),
            "a variable in the gateway itself": put(
                f"{_GATEWAY}/env/+", {"name": "PYTHONPATH", "value": "/run/canfar/gateway"}
            ),
            "the gateway sees the home": put(
                f"{_GATEWAY}/volumeMounts/+",
                {"name": "arc", "mountPath": "/arc/home/ada", "subPath": "home/ada"},
            ),
        }.items()
    },
    "a program called gateway": Mutant(second(name="gateway"), GATEWAY),
    "no gateway": Mutant(drop("spec/initContainers"), UNGUARDED, base="contributed"),
    "a gateway by another name": Mutant(
        put(f"{_GATEWAY}/name", "gate"), UNGUARDED, base="contributed"
    ),
    **{
        name: Mutant(change, OPENS, base="contributed")
        for name, change in {
            "the program reads what opens the hub": put(
                "spec/containers/0/env/+", reads(_TOKEN_KEY)
            ),
            "the program reads the plan": put("spec/containers/0/env/+", reads("plan")),
            "a second program reads what opens the hub": second(env=[reads(_TOKEN_KEY)]),
            "an init container reads what opens the hub": first(env=[reads(_TOKEN_KEY)]),
            "the program has a token of the hub by another key": put(
                "spec/containers/0/env/+", reads("env.HOME", "JUPYTERHUB_API_TOKEN")
            ),
            "the gateway reads the owner's variables": put(
                f"{_GATEWAY}/env/+", reads("env.SURVEY")
            ),
            "all of the Secret as files": volume({"secret": {"secretName": "k3vd81qa-ada"}}),
            "what opens the hub as a file": volume(
                {
                    "secret": {
                        "secretName": "k3vd81qa-ada",
                        "items": [{"key": _TOKEN_KEY, "path": "token"}],
                    }
                }
            ),
        }.items()
    },
    # Storage.
    "hostPath": Mutant(volume({"hostPath": {"path": "/"}}), VOLUME),
    "NFS": Mutant(volume({"nfs": {"server": "nfs.example.org", "path": "/"}}), VOLUME),
    "claim of another": Mutant(
        volume({"persistentVolumeClaim": {"claimName": "hub-db-dir"}}), VOLUME
    ),
    "driver that is not the site's": Mutant(volume({"csi": {"driver": "csi.example"}}), VOLUME),
    "image as a volume": Mutant(
        volume({"image": {"reference": "docker.io/library/debian:13"}}), VOLUME
    ),
    "claim made with the pod": Mutant(
        volume(
            {
                "ephemeral": {
                    "volumeClaimTemplate": {
                        "spec": {
                            "accessModes": ["ReadWriteOnce"],
                            "resources": {"requests": {"storage": "1Gi"}},
                        }
                    }
                }
            }
        ),
        VOLUME,
    ),
    "all of arc": Mutant(arc({"mountPath": "/arc"}), ARC),
    "all homes": Mutant(arc({"mountPath": "/arc/home", "subPath": "home"}), ARC),
    "another's home": Mutant(arc({"mountPath": "/arc/home/ben", "subPath": "home/ben"}), ARC),
    "another's home as one's own": Mutant(
        both(
            drop("spec/containers/0/volumeMounts"),
            arc({"mountPath": "/arc/home/ada", "subPath": "home/ben"}),
        ),
        ARC,
    ),
    "another's home as a project": Mutant(
        arc({"mountPath": "/arc/projects/ben", "subPath": "home/ben"}), ARC
    ),
    "home of the annotation": Mutant(user("ben"), OWNER),
    "project under another name": Mutant(
        arc({"mountPath": "/arc/projects/other", "subPath": "projects/secret"}), ARC
    ),
    "project named ..": Mutant(
        arc({"mountPath": "/arc/projects/..", "subPath": "projects/.."}), ARC
    ),
    "below a project": Mutant(
        arc({"mountPath": "/arc/projects/a/b", "subPath": "projects/a/b"}), ARC
    ),
    "arc under a second volume's name": Mutant(
        volume({"persistentVolumeClaim": {"claimName": "arc"}}), ARC
    ),
    "all of arc in an init container": Mutant(
        first(volumeMounts=[{"name": "arc", "mountPath": "/arc"}]), ARC
    ),
    "path from a variable": Mutant(
        arc({"mountPath": "/arc/projects/x", "subPathExpr": "projects/$(SURVEY)"}), ARC
    ),
    "path of scratch from a variable": Mutant(
        put(
            "spec/containers/0/volumeMounts/+",
            {"name": "scratch", "mountPath": "/more", "subPathExpr": "$(SURVEY)"},
        ),
        PATH,
    ),
    "mounts shown to the node": Mutant(
        both(
            put(f"{_PROGRAM}/privileged", value=True),
            put(f"{_PROGRAM}/allowPrivilegeEscalation", value=True),
            put("spec/containers/0/volumeMounts/0/mountPropagation", "Bidirectional"),
        ),
        PRIVILEGES,
    ),
    "scratch without end": Mutant(volume({"emptyDir": {}}), ROOM),
    # Sizes.
    "no limits": Mutant(
        both(drop("spec/resources"), put("spec/containers/0/resources", {})), LIMITS
    ),
    "no limit of cores": Mutant(drop("spec/resources/limits/cpu"), LIMITS),
    "no limit of memory": Mutant(
        both(
            drop("spec/resources/limits/memory"),
            drop("spec/containers/0/resources/limits"),
        ),
        LIMITS,
    ),
    "fixed in name only": Mutant(put("spec/resources/requests/cpu", "1"), FIXED, base="fixed"),
    # Names.
    **{
        f"no label {name}": Mutant(unlabelled(name), LABELS)
        for name in ("instance", "launch", "session", "owner", "uid", "kind", "mode")
    },
    "launch of another session": Mutant(label("launch", "q3vd81qa-0123456789ab"), LABELS),
    "unknown mode": Mutant(label("mode", "free"), LABELS),
    "another name": Mutant(put("metadata/name", "k3vd81qa-ben"), NAME),
    "another owner": Mutant(
        both(label("owner", "ben"), put("metadata/name", "k3vd81qa-ben")), OWNER
    ),
    "no user": Mutant(drop("metadata/annotations"), OWNER),
}
