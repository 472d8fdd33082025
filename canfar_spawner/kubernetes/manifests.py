"""Plans as Kubernetes objects: pure, on plain dictionaries, equal for equal plans."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from canfar_spawner.core.gateway import has_gateway
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.lifetime import LONGEST
from canfar_spawner.core.names import LaunchId, owner_slug
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.pods import Placement, PodsPolicy
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import RegistryCredentials
from canfar_spawner.core.resources import GIB, number
from canfar_spawner.core.storage import Area, Mount
from canfar_spawner.core.variables import (
    account_files,
    files_view,
    jupyter_config,
    kernel_room,
)
from canfar_spawner.kubernetes.evidence import CONTAINER, SCRATCH_VOLUME, moment
from canfar_spawner.kubernetes.sidecar import MEMORY as GATEWAY_MEMORY
from canfar_spawner.kubernetes.sidecar import gateway_image, put_before, references, secret_key
from canfar_spawner.kubernetes.told import PRIVATE, Told, places, unexpanded

Manifest = dict[str, Any]

PREFIX: Final = "hub.canfar.net"
INSTANCE: Final = f"{PREFIX}/instance"
LAUNCH: Final = f"{PREFIX}/launch"
SESSION: Final = f"{PREFIX}/session"
OWNER: Final = f"{PREFIX}/owner"
UID: Final = f"{PREFIX}/uid"
KIND: Final = f"{PREFIX}/kind"
MODE: Final = f"{PREFIX}/mode"
POLICY: Final = f"{PREFIX}/policy"
ENDS: Final = f"{PREFIX}/ends"
"""The annotation of a session's Secret with the end it was promised last."""
USERNAME: Final = "hub.jupyter.org/username"
"""The annotation in which KubeSpawner keeps the user's own name."""

_GRACE: Final = 10
"""Seconds from being told to end until being killed."""
_ENV_KEY = "env."
_FILE_KEY = "file."
PLAN_KEY: Final = "plan"
"""The key of a session's Secret that its plan is kept under."""
_ETC_FILES: Final = ("jupyter_server_config.json", "jupyter_server_config.py")
_LONGEST_SECRET: Final = 900_000
"""In bytes: a Secret holds one MiB with everything around it."""


def labels(plan: SessionPlan, pods: PodsPolicy) -> dict[str, str]:
    """Give the labels of everything made for a launch."""
    return {
        INSTANCE: pods.instance,
        LAUNCH: plan.launch,
        SESSION: plan.session,
        OWNER: owner_slug(plan.owner),
        UID: str(plan.identity.uid),
        KIND: plan.kind.value,
        MODE: plan.resources.allocation.value.replace(" ", "-"),
    }


def selector(pods: PodsPolicy, launch: LaunchId | None = None) -> str:
    """Select all objects of a hub, or those of one launch."""
    chosen = f"{INSTANCE}={pods.instance}"
    return chosen if launch is None else f"{chosen},{LAUNCH}={launch}"


# Secrets: variables and files of a session, and what its registry asks for.


def session_files(plan: SessionPlan) -> dict[str, str]:
    """Give the files that a session finds in its container."""
    where = places(plan)
    passwd, group = account_files(plan)
    return {
        "passwd": passwd,
        "group": group,
        "jupyter_server_config.json": jupyter_config(where),
        "jupyter_server_config.py": files_view(where) + "\n" + kernel_room(where),
    }


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def session_secret(plan: SessionPlan, told: Told, pods: PodsPolicy) -> Manifest:
    """Give the Secret that holds the variables and files of a session."""
    content = {f"{_ENV_KEY}{name}": value for name, value in told.variables.items()}
    content |= {secret_key(name): value for name, value in told.gateway.items()}
    content |= {f"{_FILE_KEY}{name}": text for name, text in session_files(plan).items()}
    # For a hub that has lost its record of the session.
    content[PLAN_KEY] = plan.model_dump_json()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": plan.object_name,
            "namespace": pods.namespace,
            "labels": labels(plan, pods),
        },
        "immutable": True,
        "data": {key: _encoded(value) for key, value in sorted(content.items())},
    }


def secret_variable(secret: Mapping[str, Any], name: str) -> str | None:
    """Read a variable of the gateway's, or of the program's, back from a session's Secret."""
    data = secret.get("data") or {}
    found = data.get(secret_key(name), data.get(f"{_ENV_KEY}{name}"))
    return None if found is None else base64.b64decode(found).decode()


def secret_plan(secret: Mapping[str, Any]) -> SessionPlan | None:
    """Read the plan back from a session's Secret; None where there is none that can be read."""
    try:
        return SessionPlan.model_validate_json(base64.b64decode(secret["data"][PLAN_KEY]))
    except (KeyError, TypeError, ValueError):
        return None


def secret_end(secret: Mapping[str, Any], plan: SessionPlan) -> datetime:
    """Say when a session ends: as last extended, never sooner than it was planned."""
    text = (secret["metadata"].get("annotations") or {}).get(ENDS)
    return max(moment(text) or plan.ends, plan.ends)


def end_patch(secret: Mapping[str, Any], until: datetime) -> Manifest:
    """Give the patch of this very Secret that keeps a new end of its session."""
    written = {ENDS: until.astimezone(UTC).isoformat()}
    return {"metadata": {"uid": secret["metadata"]["uid"], "annotations": written}}


def is_too_large(secret: Manifest) -> bool:
    """Say whether a Secret holds more than Kubernetes takes."""
    return sum(len(key) + len(text) for key, text in secret["data"].items()) > _LONGEST_SECRET


def registry_secret_name(plan: SessionPlan) -> str:
    """Name the Secret with the credentials of a private registry."""
    return f"{plan.object_name}-registry"


def registry_secret(
    plan: SessionPlan, credentials: RegistryCredentials, pods: PodsPolicy
) -> Manifest:
    """Give the Secret with which the image of a session is fetched."""
    user = credentials.user.get_secret_value()
    password = credentials.secret.get_secret_value()
    auths = {
        plan.image.registry: {
            "username": user,
            "password": password,
            "auth": _encoded(f"{user}:{password}"),
        }
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {
            "name": registry_secret_name(plan),
            "namespace": pods.namespace,
            "labels": labels(plan, pods),
        },
        "immutable": True,
        "data": {".dockerconfigjson": _encoded(json.dumps({"auths": auths}, sort_keys=True))},
    }


def owner_patch(pod: Mapping[str, Any]) -> Manifest:
    """Give the patch that lets an object go with its pod."""
    return {
        "metadata": {
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": pod["metadata"]["name"],
                    "uid": pod["metadata"]["uid"],
                }
            ]
        }
    }


# Pods.


def bare_pod(plan: SessionPlan) -> Manifest:
    """Give the pod of a plan that no spawner has shaped: a batch job."""
    container: Manifest = {"name": CONTAINER, "image": str(plan.image)}
    if plan.command:
        program, *arguments = map(unexpanded, plan.command)
        container |= {"command": [program], "args": arguments}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": plan.object_name, "annotations": {USERNAME: plan.owner}},
        "spec": {"containers": [container]},
    }


def program_of(pod: Mapping[str, Any]) -> Manifest:
    """Give the container of the session's own program."""
    found: Manifest = next(each for each in pod["spec"]["containers"] if each["name"] == CONTAINER)
    return found


def _arc_mount(mount: Mount, pods: PodsPolicy) -> Manifest:
    root = pods.storage.homes if mount.area is Area.HOME else pods.storage.projects
    path = f"{root}/{mount.name}" if root else mount.name
    return {"name": "arc", "mountPath": mount.path, "subPath": path}


def _volumes(plan: SessionPlan, policy: SitePolicy) -> tuple[list[Manifest], list[Manifest]]:
    """Give the volumes of a session and where its program sees them."""
    pods, storage = policy.pods, policy.storage
    volumes: list[Manifest] = [
        {"name": "arc", "persistentVolumeClaim": {"claimName": pods.storage.claim}},
        {"name": "private", "emptyDir": {"sizeLimit": "2Gi"}},
        {
            "name": "session",
            "secret": {
                "secretName": plan.object_name,
                "defaultMode": 0o444,
                "items": [
                    {"key": f"{_FILE_KEY}{name}", "path": name} for name in session_files(plan)
                ],
            },
        },
    ]
    mounts: list[Manifest] = [
        {"name": "private", "mountPath": PRIVATE},
        *(
            {"name": "session", "mountPath": f"{PRIVATE}/etc/{name}", "subPath": name}
            | {"readOnly": True}
            for name in _ETC_FILES
        ),
        {"name": "session", "mountPath": "/etc/passwd", "subPath": "passwd", "readOnly": True},
        {"name": "session", "mountPath": "/etc/group", "subPath": "group", "readOnly": True},
    ]
    for mount in plan.storage.mounts:
        match mount.area:
            case Area.HOME | Area.PROJECT:
                mounts.append(_arc_mount(mount, pods))
            case Area.SCRATCH:
                size = f"{storage.scratch_gb}Gi"
                volumes.append({"name": SCRATCH_VOLUME, "emptyDir": {"sizeLimit": size}})
                mounts.append({"name": SCRATCH_VOLUME, "mountPath": mount.path})
            case Area.SHARED_MEMORY:
                size = f"{storage.shared_memory_gb}Gi"
                memory = {"medium": "Memory", "sizeLimit": size}
                volumes.append({"name": "shared-memory", "emptyDir": memory})
                mounts.append({"name": "shared-memory", "mountPath": mount.path})
            case Area.CVMFS:
                volumes.append({"name": "cvmfs", **_cvmfs(pods)})
                mounts.append(
                    {"name": "cvmfs", "mountPath": mount.path, "readOnly": True}
                    | {"mountPropagation": "HostToContainer"}
                )
            case Area.SITE:  # pragma: no cover - those of the site come below
                continue
    for volume in pods.volumes:
        name = f"site-{volume.name}"
        claim = {"claimName": volume.claim, "readOnly": volume.read_only}
        volumes.append({"name": name, "persistentVolumeClaim": claim})
        mounted = {"name": name, "mountPath": volume.path, "readOnly": volume.read_only}
        mounts.append(mounted | ({"subPath": volume.sub_path} if volume.sub_path else {}))
    return volumes, mounts


def _cvmfs(pods: PodsPolicy) -> Manifest:
    if pods.cvmfs.csi_driver is not None:
        return {"csi": {"driver": pods.cvmfs.csi_driver, "readOnly": True}}
    claim = pods.cvmfs.claim or "cvmfs"
    return {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}}


def _merged(theirs: Iterable[Manifest] | None, ours: Iterable[Manifest]) -> list[Manifest]:
    """Put two lists of named things together; ours stand for theirs of the same name."""
    ours = list(ours)
    names = {each["name"] for each in ours}
    return [each for each in theirs or () if each["name"] not in names] + ours


def _memory(size: int) -> str:
    return f"{size // GIB}Gi" if size % GIB == 0 else str(size)


def _sizes(plan: SessionPlan) -> tuple[Manifest, Manifest]:
    """Give the resources of the whole pod, which make its class, and of its program."""
    sizes = plan.resources
    memory = {"requests": _memory(sizes.memory_request), "limits": _memory(sizes.memory_limit)}
    pod = {
        "requests": {"cpu": number(sizes.cores_request), "memory": memory["requests"]},
        "limits": {"cpu": number(sizes.cores_limit), "memory": memory["limits"]},
    }
    # The program's own limit has the kernel's verdict reported on its container.
    beside = GATEWAY_MEMORY if has_gateway(plan) else 0
    bounds = {"requests": sizes.memory_request, "limits": sizes.memory_limit}
    container = {bound: {"memory": _memory(size - beside)} for bound, size in bounds.items()}
    return pod, container


def _confined(container: Manifest) -> None:
    """Take every privilege from a container, whatever a site's traits gave it."""
    context = dict(container.get("securityContext") or {})
    for ours in ("runAsUser", "runAsGroup", "runAsNonRoot", "procMount", "seLinuxOptions"):
        context.pop(ours, None)
    context |= {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "capabilities": {"drop": ["ALL"]},
    }
    container["securityContext"] = context


def _place(spec: Manifest, placement: Placement) -> None:
    spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **placement.node_selector}
    tolerations = [each.model_dump(exclude_none=True) for each in placement.tolerations]
    spec["tolerations"] = [*(spec.get("tolerations") or ()), *tolerations]
    for key in ("nodeSelector", "tolerations"):
        if not spec[key]:
            del spec[key]
    if placement.priority_class:
        spec["priorityClassName"] = placement.priority_class
    if placement.runtime_class:
        spec["runtimeClassName"] = placement.runtime_class


def finish(
    pod: Mapping[str, Any],
    plan: SessionPlan,
    policy: SitePolicy,
    *,
    told: Told,
    private_image: bool = False,
) -> Manifest:
    """Make a pod the pod of a plan.

    What the plan decides replaces what a site's traits have set: sizes, identity, storage,
    variables and privileges. No value of a variable is in it.

    Parameters
    ----------
    pod : mapping
        From KubeSpawner's traits, or `bare_pod`.
    plan : SessionPlan
    policy : SitePolicy
    told : Told
        What is in the session's Secret.
    private_image : bool
        Its registry asks for credentials, which lie in a Secret of their own.
    """
    pods = policy.pods
    made: Manifest = copy.deepcopy(dict(pod))
    metadata = made["metadata"]
    metadata["name"], metadata["namespace"] = plan.object_name, pods.namespace
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels(plan, pods)}
    annotations = {**(metadata.get("annotations") or {}), POLICY: plan.policy_digest}
    metadata["annotations"] = annotations
    spec = made["spec"]
    identity = plan.identity
    context = dict(spec.get("securityContext") or {})
    for dangerous in ("fsGroup", "fsGroupChangePolicy", "sysctls", "windowsOptions"):
        context.pop(dangerous, None)
    spec["securityContext"] = context | {
        "runAsNonRoot": True,
        "runAsUser": identity.uid,
        "runAsGroup": identity.group.gid,
        "supplementalGroups": list(identity.gids),
        "supplementalGroupsPolicy": "Strict",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec |= {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE,
        "hostname": plan.session,
    }
    volumes, mounts = _volumes(plan, policy)
    spec["volumes"] = _merged(spec.get("volumes"), volumes)
    spec["resources"], sizes = _sizes(plan)
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        _confined(container)
    program = program_of(made)
    if not has_gateway(plan) or told.command or told.args:
        # What an image of others runs by itself may be named from where the image has it.
        program["workingDir"] = program.get("workingDir") or plan.storage.home
    if plan.resources.gpus:
        for bound in ("requests", "limits"):
            sizes[bound][pods.gpu_resource] = str(plan.resources.gpus)
    program["resources"] = sizes
    program |= {
        key: list(words) for key, words in (("command", told.command), ("args", told.args)) if words
    }
    keys = {name: f"{_ENV_KEY}{name}" for name in told.variables}
    theirs = [each for each in program.get("env") or () if "valueFrom" in each]
    program["env"] = _merged(theirs, references(plan.object_name, keys))
    taken = {mount["mountPath"] for mount in mounts}
    others = [each for each in program.get("volumeMounts") or () if each["mountPath"] not in taken]
    program["volumeMounts"] = others + mounts
    # An image that is on the node already, fetched for somebody else, must not be had without its
    # registry's consent; of one that is not the site's, nobody here knows whether it is private.
    asks_registry = private_image or plan.container is None
    program["imagePullPolicy"] = (
        "Always" if asks_registry else program.get("imagePullPolicy") or "IfNotPresent"
    )
    pulling = [{"name": name} for name in pods.pull_secrets]
    if private_image:
        pulling.append({"name": registry_secret_name(plan)})
    pulling = _merged(spec.get("imagePullSecrets"), pulling)
    if pulling:
        spec["imagePullSecrets"] = pulling
    if has_gateway(plan):
        image, names = gateway_image(policy), told.gateway
        put_before(program, spec, image=image, secret=plan.object_name, names=names)
    _place(spec, pods.placed(plan.kind, gpus=plan.resources.gpus))
    if not KINDS[plan.kind].interactive:
        _as_batch_job(made, policy)
    return made


def _as_batch_job(pod: Manifest, policy: SitePolicy) -> None:
    """Set what only batch jobs have: a place in the queue, and an end also without a manager."""
    if policy.pods.queue:
        pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = policy.pods.queue
    # It cannot be moved later, and the site may allow longer extensions by then: an end that comes
    # before the promised one is worse than one that comes late where nobody sees to any.
    pod["spec"]["activeDeadlineSeconds"] = int(LONGEST.total_seconds()) + 1
