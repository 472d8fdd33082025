"""How the applications of other projects are started, as it stands in `golden/`.

``python -m tests.core.launches`` writes the files anew; the difference is reviewed with the change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from canfar_spawner.core.backend import Secrets
from canfar_spawner.core.gateway import (
    Listening,
    application_variables,
    settings,
    started,
)
from canfar_spawner.core.identity import PosixIdentity
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.variables import Places
from tests.core.world import ADA, plan

GOLDEN = Path(__file__).parent / "golden"
SHARED = "what gateway and application share"
SECRETS = Secrets(
    env=(
        ("JUPYTERHUB_API_TOKEN", SecretStr("a token of the hub")),
        ("SURVEY", SecretStr("deep")),
    ),
    application=SecretStr(SHARED),
)
DOTTED = ADA.model_copy(update={"name": "ada.lovelace"})
_CUBE = "/arc/projects/demo/line cube & more.fits"


def _launch(
    options: dict[str, object], identity: PosixIdentity = ADA, *, bare: str = ""
) -> dict[str, Any]:
    """Give what application and gateway are told.

    Parameters
    ----------
    options : dict
    identity : PosixIdentity
    bare : str
        Where homes and projects are on a machine that cannot show them as ``/arc``.
    """
    made = plan(options, identity)
    arc = bare or "/arc"
    places = Places(
        home=f"{arc}/home/{made.owner}",
        projects=f"{arc}/projects",
        scratch="/scratch",
        private="/run/canfar",
        files="/files",
    )
    port = KINDS[made.kind].port
    assert port is not None
    listening = Listening(port=port)
    prefix = f"/user/{made.owner}/{made.session}/"
    begun = started(made, places, listening, prefix=prefix)
    return {
        "argv": list(begun.argv),
        "env": begun.env,
        "told": application_variables(made, SECRETS),
        "gateway": settings(made, listening).model_dump(mode="json"),
    }


def launches() -> dict[str, dict[str, Any]]:
    """Give every launch by the name of its file."""
    demo = {"projects": ["demo"]}
    return {
        "carta": _launch({"container": "carta"}),
        "carta-project": _launch({"container": "carta", **demo}, DOTTED),
        "carta-fixed": _launch({"container": "carta", "mode": "fixed", "cores": 4, "memory": 8}),
        "carta-open": _launch({"container": "carta", "open": _CUBE}),
        "carta-bare-machine": _launch(
            {"container": "carta", "open": _CUBE}, bare="/srv/canfar/data/arc"
        ),
        "firefly": _launch({"container": "firefly"}, DOTTED),
        "firefly-bare-machine": _launch({"container": "firefly"}, bare="/srv/canfar/data/arc"),
    }


def written(launch: dict[str, Any]) -> str:
    """Write a launch as its file has it."""
    return json.dumps(launch, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, launch in launches().items():
        (GOLDEN / f"{name}.json").write_text(written(launch))
