"""What hypothesis sends: JSON of any shape, and requests of the right shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from hypothesis import strategies as st

from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.request import FIELDS
from tests.core.world import CONTAINERS

SECRET: Final = "canary-5d41402abc"  # stands for any value that must not come back

ANY_TEXT: Final = st.text(st.characters(), max_size=40)
"""Any code points, lone surrogates too: JSON can carry them."""

SOME_TEXT: Final = st.text(st.characters(), min_size=1, max_size=40)

HOSTILE: Final = st.sampled_from(
    [
        "../../etc/passwd",
        "/arc/home/ada/../ben",
        "{user}",
        "{username}",
        "$(reboot)",
        "`id`",
        "a\nb",
        "a\0b",
        "\r\n",
        "x" * 300,
        "\ud800",
        "a\u2028b",
        "<script>",
        "%2e%2e",
        " ",
    ]
)

JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | HOSTILE,
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(ANY_TEXT, children, max_size=4)
    ),
    max_leaves=12,
)

ANY_OPTIONS: Final = JSON | st.dictionaries(st.sampled_from(FIELDS) | ANY_TEXT, JSON, max_size=6)

IMAGES: Final = st.sampled_from(
    [
        "images.canfar.net/skaha/astroml:26.11",
        "images.canfar.net/skaha/astroml:26.05",
        "images.canfar.net/skaha/astroml:9",
        "images.canfar.net/skaha/mine:2@sha256:" + "0" * 64,
        "images.canfar.net/cirada/astroml",
        "registry.example.org:5000/any/thing/deep:x",
        "images.canfar.net.evil.org/x/y:1",
        "docker.io/library/alpine",
        "alpine",
    ]
)

PATHS: Final = st.sampled_from(
    [
        "/arc/home/ada",
        "/arc/home/ada/work/my notes.ipynb",
        "/arc/home/ada/{user}",
        "/arc/projects/demo/cube.fits",
        "/arc/home/ada2",
        "/arc/home/ada/../ben",
        "/arc/home/ada/",
        "/scratch",
    ]
)

_NUMBERS = (
    st.sampled_from([1, 2, 4, 8, 16, 0.5, 2.0, 16.9, 0, -1, 10**9, float("nan"), float("inf")])
    | st.booleans()
    | st.integers()
    | st.floats()
)

_ENV_VALUES = ANY_TEXT | HOSTILE | st.just(SECRET)

_ENV = st.dictionaries(
    st.sampled_from(["MODE", "TOKEN", "_x1", "HOME", "JUPYTERHUB_USER", "LD_PRELOAD"]) | ANY_TEXT,
    _ENV_VALUES,
    max_size=4,
)

_GOOD_ENV = st.dictionaries(
    st.from_regex(r"MY_[A-Z0-9_]{0,8}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
    | st.just(SECRET),
    max_size=4,
)

_PROJECTS = st.lists(
    st.sampled_from(["demo", "survey", "secret", "nowhere"]) | SOME_TEXT, max_size=4
)


def _words(*good: str) -> st.SearchStrategy[str]:
    return st.sampled_from(good) | SOME_TEXT | HOSTILE


_SHAPED: Final[dict[str, st.SearchStrategy[object]]] = {
    "version": _words("26.11", "26.05", "_dev", "1.0"),
    "kind": _words(*SessionKind),
    "name": _words("my galaxy", "M 31", "naïve-1"),
    "mode": _words("flexible", "fixed"),
    "cores": _NUMBERS,
    "memory": _NUMBERS,
    "gpus": _NUMBERS,
    "projects": _PROJECTS,
    "open": PATHS | SOME_TEXT | HOSTILE,
    "continues": st.lists(_words("k3vd81qa", "a0000000"), max_size=3),
    "env": _GOOD_ENV | _ENV,
    "cmd": _words("python"),
    "args": st.lists(SOME_TEXT | HOSTILE, max_size=3),
    "registry_user": _words("ada"),
    "registry_secret": _words(SECRET),
}

_GOOD: Final[dict[str, st.SearchStrategy[object]]] = {
    "name": st.sampled_from(["my galaxy", "M 31", "nai\u0308ve-1", "x"]),
    "projects": st.lists(st.sampled_from(["demo", "survey"]), max_size=3),
    "open": st.sampled_from(["/arc/home/ada", "/arc/home/ada/a b.ipynb", "/arc/home/ada/%2e"]),
    "continues": st.lists(st.sampled_from(["k3vd81qa", "a0000000"]), max_size=3),
    "env": _GOOD_ENV,
}

_SIZES: Final = st.sampled_from(
    [
        {},
        {"mode": "flexible"},
        {"mode": "fixed", "cores": 2, "memory": 4},
        {"mode": "fixed", "cores": 4.0, "memory": 16},
        {"cores": 2, "memory": 4, "gpus": 0},
        {"cores": 2},
        {"memory": 16},
    ]
)

_FIRST: Final = (
    st.fixed_dictionaries({"container": _words(*CONTAINERS)})
    | st.fixed_dictionaries({"profile": _words(*CONTAINERS)})
    | st.fixed_dictionaries({"image": IMAGES | SOME_TEXT | HOSTILE})
    | st.fixed_dictionaries({"container": _words("astroml"), "image": IMAGES})
)


def _merged(*parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, object]]:
    return st.tuples(*parts).map(lambda dicts: {k: v for d in dicts for k, v in d.items()})


SHAPED_OPTIONS: Final = _merged(_FIRST, st.fixed_dictionaries({}, optional=_SHAPED))
"""Every value has its field's JSON type and may be anything of that type."""

GOOD_OPTIONS: Final = _merged(
    st.sampled_from(
        [
            {"container": "astroml"},
            {"profile": "astroml", "version": "26.05"},
            {"container": "astroml", "kind": "notebook", "version": "_dev"},
            {"container": "astroml", "kind": "headless"},
            {"container": "astroml", "kind": "headless", "cmd": "echo", "args": ["{x}", "/../"]},
            {"container": "carta"},
            {"image": "images.canfar.net/skaha/astroml:26.11"},
            {"image": "images.canfar.net/skaha/x/y:9", "kind": "contributed"},
            {
                "image": "registry.example.org:5000/own/private",
                "kind": "notebook",
                "registry_user": SECRET + "-u",
                "registry_secret": SECRET,
            },
        ]
    ),
    _SIZES,
    st.fixed_dictionaries({}, optional=_GOOD),
)
"""Requests that the sample site grants to Ada."""

MIXED_OPTIONS: Final = SHAPED_OPTIONS | _merged(
    GOOD_OPTIONS, st.fixed_dictionaries({}, optional=_SHAPED)
)

UNKNOWN: Final = st.dictionaries(
    SOME_TEXT.filter(lambda key: key not in FIELDS), SOME_TEXT, min_size=1, max_size=1
)


def _env_text(env: Mapping[str, object]) -> str:
    lines = "\r\n".join(f"{name}={value}" for name, value in env.items())
    plain = all(
        isinstance(value, str)
        and name
        and name == name.strip()
        and not {"=", "\r", "\n"} & set(name)
        and not {"\r", "\n"} & set(value)
        for name, value in env.items()
    )
    return lines if plain and not lines.startswith("{") else json.dumps(env)


def encode_form(options: Mapping[str, object]) -> dict[str, list[str]]:
    """Write options as a browser would send the form; KeyError where it has no such input."""
    fields: dict[str, list[str]] = {}
    for field, value in options.items():
        if isinstance(value, str):
            if not value:
                raise KeyError(field)
            fields[field] = [value]
        elif field == "env" and isinstance(value, Mapping):
            fields[field] = [_env_text(value)]
        elif field in {"projects", "args"} and isinstance(value, list):
            if not all(isinstance(item, str) and item for item in value):
                raise KeyError(field)
            fields[field] = [*value] or [""]
        elif isinstance(value, int | float) and field in {"cores", "memory", "gpus"}:
            fields[field] = [repr(value)]
        else:
            raise KeyError(field)
    return fields
