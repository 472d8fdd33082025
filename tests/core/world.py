"""A small site and its people, and how requests are put to it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from canfar_spawner.core.errors import SessionError
from canfar_spawner.core.identity import PosixGroup, PosixIdentity
from canfar_spawner.core.limits import Usage
from canfar_spawner.core.names import LaunchId, SessionId
from canfar_spawner.core.plan import SessionPlan, plan_session
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.request import parse_request

_Result = TypeVar("_Result")

NOW: Final = datetime(2026, 11, 1, 12, tzinfo=UTC)
SESSION: Final = SessionId("k3vd81qa")
LAUNCH: Final = LaunchId("k3vd81qa-0123456789ab")


def _container(name: str, title: str, *kinds: str, **more: object) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "description": f"{title}, for tests.",
        "icon": name,
        "kinds": list(kinds),
        "image": f"skaha/{name}",
        "versions": [{"name": "1.0"}],
        **more,
    }


_DATA: Final[dict[str, Any]] = {
    "catalogue": {
        "registry": "images.canfar.net",
        "containers": [
            _container(
                "astroml",
                "AstroML",
                "notebook",
                "headless",
                entry="direct",
                recommended=True,
                aliases=["images.canfar.net/cirada/astroml"],
                versions=[
                    {"name": "26.11", "recommended": True},
                    {"name": "26.05", "deprecated": True, "successor": "26.11"},
                    {"name": "_dev"},
                ],
            ),
            _container("carta", "CARTA", "carta"),
            _container("desktop", "Desktop", "desktop"),
            _container("firefly", "Firefly", "firefly"),
            _container("pluto", "Pluto", "contributed"),
            _container("vault", "Vault", "notebook", groups=["staff"]),
        ],
    },
    "images": {"sources": ["images.canfar.net/skaha", "registry.example.org:5000"]},
    "resources": {"kinds": {"carta": {"gpus": [0, 1, 2], "cores": ["0.5", 2, 4]}}},
    "limits": {"interactive": 3, "groups": [{"group": "heavy", "interactive": 10}]},
    "storage": {"cvmfs": True},
    "projects": [
        {"name": "demo", "group": "demo"},
        {"name": "survey", "group": "survey"},
        {"name": "secret", "group": "secret"},
    ],
    "defaults": {"notebook": "astroml"},
}

CONTAINERS: Final = tuple(entry["name"] for entry in _DATA["catalogue"]["containers"])


def site_data() -> dict[str, Any]:
    """Give the sample site as a file would hold it, free to be changed."""
    return copy.deepcopy(_DATA)


def site(**changes: object) -> SitePolicy:
    """Give the sample site, with some parts replaced."""
    return SitePolicy.model_validate({**site_data(), **changes})


def _person(name: str, uid: int, *projects: str, groups: tuple[str, ...] = ()) -> PosixIdentity:
    names = (*projects, *groups)
    return PosixIdentity(
        name=name,
        uid=uid,
        group=PosixGroup(name=name, gid=uid),
        groups=tuple(PosixGroup(name=group, gid=7000 + len(group)) for group in names),
        projects=projects,
    )


ADA: Final = _person("ada", 5001, "demo", "survey")
BEN: Final = _person("ben", 5002, "survey")
EVE: Final = _person("eve", 5003)
STAFF: Final = _person("sam", 5004, "demo", groups=("staff", "heavy"))

SITE: Final = site()


def plan(
    options: Mapping[str, object],
    identity: PosixIdentity = ADA,
    *,
    policy: SitePolicy = SITE,
    usage: int = 0,
) -> SessionPlan:
    """Put a request through the whole gate."""
    return plan_session(
        parse_request(options),
        identity=identity,
        policy=policy,
        usage=Usage(interactive=usage),
        now=NOW,
        session=SESSION,
        launch=LAUNCH,
    )


def facts(refusal: SessionError) -> tuple[object, ...]:
    """Give everything a client can tell two refusals apart by."""
    return type(refusal), refusal.code, refusal.field, refusal.sentence, refusal.allowed


def attempt(call: Callable[[], _Result]) -> _Result | SessionError:
    """Give the result of a call, or its refusal."""
    try:
        return call()
    except SessionError as refusal:
        return refusal


def outcome(options: Mapping[str, object], identity: PosixIdentity = ADA) -> object:
    """Give the plan of a request, or the facts of its refusal."""
    result = attempt(lambda: plan(options, identity))
    return facts(result) if isinstance(result, SessionError) else result
