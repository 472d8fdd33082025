"""The pods of this project as they stand in `golden/`: what a change of them would change.

``python -m tests.manifests.golden`` writes them anew; the difference is reviewed with the change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.identity import PosixGroup, PosixIdentity
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import RegistryCredentials
from canfar_spawner.kubernetes.manifests import (
    bare_pod,
    finish,
    registry_secret,
    session_secret,
)
from canfar_spawner.kubernetes.told import told
from tests.core.world import ADA, STAFF, plan, site

GOLDEN = Path(__file__).parent / "golden"
SECRETS = Secrets(
    env=(
        ("JUPYTERHUB_API_TOKEN", SecretStr("a token")),
        ("JUPYTERHUB_SERVICE_PREFIX", SecretStr("/user/somebody/k3vd81qa/")),
        ("SURVEY", SecretStr("deep = $(HOME)\n")),
    ),
    application=SecretStr("what gateway and application share"),
)
CREDENTIALS = RegistryCredentials(user=SecretStr("ada"), secret=SecretStr("a password"))


def golden_site(*, pods: dict[str, Any] | None = None, **changes: object) -> SitePolicy:
    """Give the sample site with a gateway that does not change with the version."""
    image = "registry.example.org/canfar-hub/gateway:1"
    return site(pods={"gateway_image": image, **(pods or {})}, **changes)


MANY = PosixIdentity(
    name="many.projects",
    uid=5009,
    group=PosixGroup(name="many.projects", gid=5009),
    groups=tuple(PosixGroup(name=f"p{number}", gid=9000 + number) for number in range(60)),
    projects=tuple(f"p{number}" for number in range(60)),
)
MANY_SITE = golden_site(
    projects=[{"name": f"p{number}", "group": f"p{number}"} for number in range(60)],
    pods={
        "instance": "east",
        "cvmfs": {"csi_driver": "cvmfs.csi.cern.ch"},
        "volumes": [{"name": "catalogues", "path": "/data/catalogues", "claim": "catalogues"}],
        "placement": {
            "node_selector": {"canfar/sessions": "yes"},
            "tolerations": [{"key": "sessions", "operator": "Exists", "effect": "NoSchedule"}],
            "priority_class": "canfar-interactive",
        },
        "pull_secrets": ["site-registry"],
    },
)
GPU_SITE = golden_site(
    resources={"default": {"gpus": [0, 1]}},
    pods={"gpus": {"node_selector": {"gpu": "yes"}, "runtime_class": "nvidia"}},
)
FIXED = {"container": "astroml", "mode": "fixed", "cores": 2, "memory": 8}


def _pod(
    options: dict[str, object],
    identity: PosixIdentity = ADA,
    policy: SitePolicy | None = None,
    *,
    private: bool = False,
) -> dict[str, Any]:
    policy = policy or golden_site()
    # The digest changes with anything a policy can say.
    made = plan(options, identity, policy=policy).model_copy(update={"policy_digest": "0" * 12})
    pod = bare_pod(made)
    return finish(pod, made, policy, told=told(made, SECRETS), private_image=private)


def manifests() -> dict[str, dict[str, Any]]:
    """Give every golden object by the name of its file."""
    flexible, behind = plan({"container": "astroml"}), plan({"container": "carta"})
    private = plan({"image": "images.canfar.net/skaha/own:1", "kind": "notebook"})
    job = {"container": "astroml", "kind": "headless", "cmd": "python3"}
    return {
        "flexible": _pod({"container": "astroml"}),
        "fixed": _pod(FIXED),
        "partly-fixed": _pod({"container": "astroml", "cores": 4}),
        "gpu": _pod({**FIXED, "gpus": 1}, policy=GPU_SITE),
        "many-projects": _pod({"container": "astroml"}, MANY, MANY_SITE),
        "no-projects": _pod({"container": "astroml", "projects": []}),
        "private-image": _pod(
            {"image": "images.canfar.net/skaha/own:1", "kind": "notebook"}, private=True
        ),
        "batch": _pod({**job, "args": ["-c", "print('$(HOME)', \"$HOME\")"]}),
        "notebook": _pod({"container": "vault"}, STAFF),
        "notebook-fixed": _pod({**FIXED, "container": "vault"}, STAFF),
        "desktop": _pod({"container": "desktop"}),
        "carta": _pod({"container": "carta"}),
        "carta-fixed": _pod({**FIXED, "container": "carta"}),
        "firefly": _pod({"container": "firefly"}),
        "contributed": _pod({"container": "pluto"}),
        "contributed-fixed": _pod({**FIXED, "container": "pluto"}),
        "secret": session_secret(flexible, told(flexible, SECRETS), site().pods),
        "gateway-secret": session_secret(behind, told(behind, SECRETS), site().pods),
        "registry-secret": registry_secret(private, CREDENTIALS, site().pods),
    }


def written(manifest: dict[str, Any]) -> str:
    """Write an object as its file has it."""
    return json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, manifest in manifests().items():
        (GOLDEN / f"{name}.json").write_text(written(manifest))
