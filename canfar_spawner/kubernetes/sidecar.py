"""The gateway's own container, beside the program that knows nothing of the hub: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final

from canfar_spawner.core.gateway import DIRECTORY, is_hubs
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.kubernetes.evidence import GATEWAY
from canfar_spawner.kubernetes.told import PORT, SHARED

Manifest = dict[str, Any]

MEMORY: Final = 128 * 2**20
"""Bytes of the session's memory that the gateway has; what it needs does not grow with use."""
_GATEWAY_KEY: Final = "gateway."
_ROOM: Final = "16Mi"
"""For a socket."""


def gateway_image(policy: SitePolicy) -> str:
    """Say which image the gateway is: the site's choice, or that of this version."""
    registry = policy.catalogue.registry
    return policy.pods.gateway_image or (
        f"{registry}/canfar-hub/gateway:{version('canfar-spawner')}"
    )


def secret_key(name: str) -> str:
    """Give the key of a session's Secret for a variable that the gateway alone has."""
    return f"{_GATEWAY_KEY}{name}"


def references(secret: str, keys: Mapping[str, str]) -> list[Manifest]:
    """Give variables whose values are in a Secret.

    Parameters
    ----------
    secret : str
    keys : mapping
        Each variable's key.
    """
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for name, key in sorted(keys.items())
    ]


def put_before(
    program: Manifest, spec: Manifest, *, image: str, secret: str, names: Iterable[str]
) -> None:
    """Put the gateway in front of a program: a sidecar that starts first and ends last.

    Its end is not the session's: the kubelet starts it again.

    Parameters
    ----------
    program : dict
        The program's container, of which what the hub would be reached by is taken.
    spec : dict
        The pod's.
    image : str
        The gateway's.
    secret : str
        Where the session's variables are.
    names : iterable of str
        The variables that the gateway alone has.
    """
    size = str(MEMORY)
    container: Manifest = {
        "name": GATEWAY,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        # With it an init container runs beside what it began before.
        "restartPolicy": "Always",
        "env": references(secret, {each: secret_key(each) for each in names}),
        "ports": [{"name": "gateway", "containerPort": PORT}],
        "resources": {"requests": {"memory": size}, "limits": {"memory": size}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": DIRECTORY, "mountPath": SHARED}],
    }
    others = [each for each in spec.get("initContainers") or () if each["name"] != GATEWAY]
    spec["initContainers"] = [*others, container]
    volumes = [each for each in spec["volumes"] if each["name"] != DIRECTORY]
    spec["volumes"] = [*volumes, {"name": DIRECTORY, "emptyDir": {"sizeLimit": _ROOM}}]
    mounts = [each for each in program["volumeMounts"] if each["mountPath"] != SHARED]
    program["volumeMounts"] = [*mounts, {"name": DIRECTORY, "mountPath": SHARED}]
    program["env"] = [each for each in program["env"] if not is_hubs(each["name"])]
    program.pop("ports", None)
