"""Each mistake a request can have, and what it is answered: the same by API and by form."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import pytest

from canfar_spawner.core.errors import Invalid, NotAllowed, RequestRefused
from canfar_spawner.core.request import FIELDS, options_from_fields
from tests.core.strategies import SECRET, encode_form
from tests.core.world import ADA, EVE, facts, plan

TRACES = ("Traceback", "Error", "error:", "xception", "File ", "pydantic", "NoneType", "object at")
CORES = ("1", "2", "4", "8")
MEMORY = ("1", "2", "4", "8", "16", "32")
MINE = ("astroml", "carta", "desktop", "firefly", "pluto")
VERSIONS = ("26.11", "26.05", "_dev")
ROOTS = ("/arc/home/ada", "/arc/projects/demo", "/arc/projects/survey")
MANY = "x" * 10_000_000


@dataclasses.dataclass(frozen=True)
class Bad:
    """One bad request, added to a good one, and the refusal it gets."""

    options: dict[str, Any]
    field: str
    words: tuple[str, ...]
    error: type[RequestRefused] = Invalid
    code: str = "invalid"
    allowed: tuple[str, ...] | None = None
    base: dict[str, Any] = dataclasses.field(default_factory=lambda: {"container": "astroml"})
    eve: bool = False


TRUE = True


def bad_size(name: str, value: object) -> Bad:
    return Bad({name: value}, name, ("plain number",), allowed=())


def not_text(name: str, value: object) -> Bad:
    return Bad({name: value}, name, ("must be text",))


def not_a_name(value: str) -> Bad:
    return Bad({"name": value}, "name", ("1 to 80 letters, digits, spaces",))


def reserved(name: str) -> Bad:
    return Bad({"env": {name: SECRET}}, "env", (name, "leave it out"))


NONE: dict[str, Any] = {}
JOB = {"container": "astroml", "kind": "headless"}
CUSTOM = {"image": "images.canfar.net/skaha/x:1", "kind": "notebook"}
CARTA = {"container": "carta"}
WHERE = ("images.canfar.net/skaha or registry.example.org:5000",)

CASES = {
    # what to start
    "unknown container": Bad({"container": "astro"}, "container", MINE, allowed=MINE),
    "container in upper case": Bad({"container": "ASTROML"}, "container", MINE, allowed=MINE),
    "container of another group": Bad({"container": "vault"}, "container", MINE, allowed=MINE),
    "container with ../": Bad({"container": "../astroml"}, "container", ("letters, digits",)),
    "container with newline": Bad({"container": "astroml\n"}, "container", ("letters, digits",)),
    "container with {user}": Bad({"container": "{user}"}, "container", ("letters, digits",)),
    "container of 10 MB": Bad({"container": MANY}, "container", ("letters, digits",)),
    "no container": Bad({}, "container", ("container", "image"), base=NONE),
    "unknown version": Bad({"version": "27"}, "version", VERSIONS, allowed=VERSIONS),
    "version with a colon": Bad({"version": "26.11:x"}, "version", ("letters, digits",)),
    "version of an image": Bad({"version": "1"}, "version", ("tag",), base=CUSTOM),
    "unknown kind": Bad({"kind": "laptop"}, "kind", ("notebook", "headless")),
    "kind in upper case": Bad({"kind": "Notebook"}, "kind", ("notebook", "headless")),
    "kind the container is not": Bad(
        {"kind": "carta"}, "kind", ("notebook or headless",), allowed=("notebook", "headless")
    ),
    "image without kind": Bad(
        {"image": CUSTOM["image"]}, "kind", ("notebook", "headless"), base=NONE
    ),
    "container and profile": Bad({"profile": "astroml"}, "profile", ("one of them",)),
    "container and image": Bad({"image": CUSTOM["image"]}, "container", ("not both",)),
    "profile and image": Bad({"profile": "carta"}, "container", ("not both",), base=CUSTOM),
    # images
    "evil image": Bad(
        {"image": "images.canfar.net.evil.org/x/y:1"},
        "image",
        WHERE,
        NotAllowed,
        "image_not_allowed",
        ("images.canfar.net/skaha", "registry.example.org:5000"),
        base={"kind": "notebook"},
    ),
    "image of another project": Bad(
        {"image": "images.canfar.net/skaha2/y:1"},
        "image",
        WHERE,
        NotAllowed,
        "image_not_allowed",
        base={"kind": "notebook"},
    ),
    "image with implied registry": Bad(
        {"image": "astroml:26.11"}, "image", ("registry/project/name:tag",), base=NONE
    ),
    "image with a user": Bad(
        {"image": "images.canfar.net@evil.org/x/y"}, "image", ("registry/project",), base=NONE
    ),
    "image with newline": Bad(
        {"image": CUSTOM["image"] + "\n- x"}, "image", ("registry/project",), base=NONE
    ),
    "image of 10 MB": Bad({"image": MANY}, "image", ("registry/project",), base=NONE),
    "tag the catalogue does not have": Bad(
        {"image": "images.canfar.net/skaha/astroml:9"}, "image", VERSIONS, base=NONE
    ),
    # sizes
    "cores 16.9": Bad({"cores": 16.9}, "cores", ("1, 2, 4 or 8", "16.9"), allowed=CORES),
    "cores NaN": bad_size("cores", float("nan")),
    "cores inf": bad_size("cores", float("inf")),
    "cores -inf": bad_size("cores", -float("inf")),
    "cores '4 '": bad_size("cores", "4 "),
    "cores 1000m": bad_size("cores", "1000m"),
    "cores 1e9": Bad({"cores": 1e9}, "cores", ("1, 2, 4 or 8", "1000000000"), allowed=CORES),
    "cores 10**9": Bad({"cores": 10**9}, "cores", ("1, 2, 4 or 8",), allowed=CORES),
    "cores 2**63": bad_size("cores", 2**63),
    "cores -1": bad_size("cores", -1),
    "cores 0": Bad({"cores": 0}, "cores", ("1, 2, 4 or 8",), allowed=CORES),
    "cores True": bad_size("cores", TRUE),
    "cores as list": bad_size("cores", [2]),
    "cores as dict": bad_size("cores", {"value": 2}),
    "cores as text": bad_size("cores", "two"),
    "memory 4.5": Bad({"memory": 4.5}, "memory", ("1, 2, 4, 8, 16 or 32",), allowed=MEMORY),
    "memory NaN": bad_size("memory", float("nan")),
    "memory inf": bad_size("memory", float("inf")),
    "memory '4 '": bad_size("memory", "4 "),
    "memory 4G": bad_size("memory", "4G"),
    "memory 1e9": Bad({"memory": 1e9}, "memory", ("1, 2, 4, 8, 16 or 32",), allowed=MEMORY),
    "memory -1": bad_size("memory", -1),
    "memory 0": Bad({"memory": 0}, "memory", ("1, 2, 4, 8, 16 or 32",), allowed=MEMORY),
    "memory True": bad_size("memory", TRUE),
    "GPU where none": Bad({"gpus": 1}, "gpus", ("GPUs must be 0",), allowed=("0",)),
    "GPU beyond the offer": Bad({"gpus": 3}, "gpus", ("0, 1 or 2",), base=CARTA),
    "GPU 1.5": Bad({"gpus": 1.5}, "gpus", ("0, 1 or 2",), base=CARTA),
    "GPU '1 '": bad_size("gpus", "1 "),
    # modes
    "unknown mode": Bad({"mode": "huge"}, "mode", ("flexible or fixed",)),
    "cores with flexible": Bad({"mode": "flexible", "cores": 2}, "cores", ("flexible", "fixed")),
    "memory with flexible": Bad({"mode": "flexible", "memory": 4}, "memory", ("flexible", "fixed")),
    "fixed without memory": Bad(
        {"mode": "fixed", "cores": 2}, "memory", ("1, 2, 4, 8, 16 or 32",), allowed=MEMORY
    ),
    "fixed without cores": Bad(
        {"mode": "fixed", "memory": 4}, "cores", ("1, 2, 4 or 8",), allowed=CORES
    ),
    "fixed without either": Bad({"mode": "fixed"}, "cores", ("1, 2, 4 or 8",), allowed=CORES),
    "fixed desktop": Bad(
        {"mode": "fixed", "cores": 2, "memory": 4},
        "mode",
        ("always flexible",),
        allowed=("flexible",),
        base={"container": "desktop"},
    ),
    "sized firefly": Bad(
        {"cores": 2}, "cores", ("always flexible",), base={"container": "firefly"}
    ),
    # names
    "name of 300 characters": not_a_name("x" * 300),
    "name of 10 MB": not_a_name(MANY),
    "name with ../": not_a_name("../../etc"),
    "name with {user}": not_a_name("a{user}"),
    "name with newline": not_a_name("a\nb"),
    "name with NUL": not_a_name("a\0b"),
    "name with tags": not_a_name("<script>alert(1)</script>"),
    "name with a direction mark": not_a_name("a\u202eb"),
    "name with --": not_a_name("--help"),
    # projects and paths
    "project of others": Bad(
        {"projects": ["secret"]},
        "projects",
        ("demo and survey",),
        NotAllowed,
        "not_allowed",
        ("demo", "survey"),
    ),
    "unknown project": Bad(
        {"projects": ["demo", "x"]}, "projects", ("demo and survey",), NotAllowed, "not_allowed"
    ),
    "project of somebody without any": Bad(
        {"projects": ["demo"]}, "projects", ("have none",), NotAllowed, "not_allowed", (), eve=True
    ),
    "project with ../": Bad({"projects": ["../secret"]}, "projects", ("letters, digits",)),
    "project ..": Bad({"projects": [".."]}, "projects", ("letters, digits",)),
    "too many projects": Bad({"projects": ["demo"] * 1001}, "projects", ("at most 1000",)),
    "open elsewhere": Bad({"open": "/etc/passwd"}, "open", ROOTS, allowed=ROOTS),
    "open a neighbour": Bad({"open": "/arc/home/ada2"}, "open", ROOTS, allowed=ROOTS),
    "open with ..": Bad({"open": "/arc/home/ada/../ben"}, "open", ROOTS, allowed=ROOTS),
    "open with {username}": Bad({"open": "/arc/home/ada/{username}"}, "open", ROOTS),
    "open with newline": Bad({"open": "/arc/home/ada/a\nb"}, "open", ROOTS),
    "open of 10 MB": Bad({"open": "/arc/home/ada/" + MANY}, "open", ROOTS),
    # commands and variables
    "cmd on a notebook": Bad({"cmd": "python"}, "cmd", ("Only batch jobs",)),
    "args on a notebook": Bad({"args": ["x"]}, "args", ("Only batch jobs",)),
    "args without cmd": Bad({"args": ["x"]}, "args", ("needs cmd",), base=JOB),
    "cmd with NUL": Bad({"cmd": "a\0"}, "cmd", ("program",), base=JOB),
    "cmd of 10 MB": Bad({"cmd": MANY}, "cmd", ("program",), base=JOB),
    "args with NUL": Bad({"cmd": "a", "args": ["a\0"]}, "args", ("NUL",), base=JOB),
    "args too many": Bad({"cmd": "a", "args": ["a"] * 1001}, "args", ("at most 1000",), base=JOB),
    "env HOME": reserved("HOME"),
    "env PATH": reserved("PATH"),
    "env USER": reserved("USER"),
    "env LD_PRELOAD": reserved("LD_PRELOAD"),
    "env LD_LIBRARY_PATH": reserved("LD_LIBRARY_PATH"),
    "env JUPYTERHUB_API_TOKEN": reserved("JUPYTERHUB_API_TOKEN"),
    "env JUPYTER_CONFIG_DIR": reserved("JUPYTER_CONFIG_DIR"),
    "env JPY_API_TOKEN": reserved("JPY_API_TOKEN"),
    "env CANFAR_SESSION": reserved("CANFAR_SESSION"),
    "env XDG_RUNTIME_DIR": reserved("XDG_RUNTIME_DIR"),
    "env BASH_ENV": reserved("BASH_ENV"),
    "env PYTHONHOME": reserved("PYTHONHOME"),
    "env with a bad name": Bad({"env": {"A-B": SECRET}}, "env", ("letters, digits and _",)),
    "env with = in the name": Bad({"env": {"A=B": SECRET}}, "env", ("letters, digits and _",)),
    "env with newline in the name": Bad({"env": {"A\nB": SECRET}}, "env", ("letters, digits",)),
    "env with NUL": Bad({"env": {"A": SECRET + "\0"}}, "env", ("NUL",)),
    "env of 10 MB": Bad({"env": {"A": SECRET + MANY}}, "env", ("at most",)),
    "env with a number": Bad({"env": {"A": 5}}, "env", ("must be text",)),
    "env with a dict": Bad({"env": {"A": {"B": SECRET}}}, "env", ("must be text",)),
    "env too many": Bad({"env": {f"A{n}": "" for n in range(201)}}, "env", ("at most 200",)),
    "env as list": Bad({"env": [f"A={SECRET}"]}, "env", ("each variable's name",)),
    "env as number": Bad({"env": 5}, "env", ("each variable's name",)),
    # credentials
    "credentials without image": Bad(
        {"registry_user": "ada", "registry_secret": SECRET},
        "registry_user",
        ("image given by reference",),
    ),
    "secret without user": Bad(
        {"registry_secret": SECRET}, "registry_user", ("both",), base=CUSTOM
    ),
    "user without secret": Bad(
        {"registry_user": SECRET}, "registry_secret", ("both",), base=CUSTOM
    ),
    "secret with newline": Bad(
        {"registry_user": "ada", "registry_secret": SECRET + "\n"},
        "registry_secret",
        ("text",),
        base=CUSTOM,
    ),
    "secret as list": Bad(
        {"registry_user": "ada", "registry_secret": [SECRET]},
        "registry_secret",
        ("text",),
        base=CUSTOM,
    ),
    # shapes
    "unknown field": Bad({"uid": 0}, "uid", FIELDS, code="unknown_field", allowed=FIELDS),
    "unknown field with a secret": Bad(
        {"registry_password": SECRET}, "registry_password", FIELDS, code="unknown_field"
    ),
    "unknown field of 10 MB": Bad({MANY: 1}, MANY[:59] + "…", FIELDS, code="unknown_field"),
    "unknown field in upper case": Bad({"Cores": 2}, "Cores", FIELDS, code="unknown_field"),
    "kind as list": Bad({"kind": ["notebook"]}, "kind", ("notebook", "headless")),
    "kind as number": Bad({"kind": 1}, "kind", ("notebook", "headless")),
    "mode as dict": Bad({"mode": {"fixed": True}}, "mode", ("flexible or fixed",)),
    "mode as truth": Bad({"mode": True}, "mode", ("flexible or fixed",)),
    "container as list": not_text("container", ["astroml"]),
    "container as number": not_text("container", 5),
    "container as truth": not_text("container", TRUE),
    "version as number": not_text("version", 26.11),
    "name as list": not_text("name", ["x"]),
    "name as dict": not_text("name", {"x": {"y": {"z": [MANY]}}}),
    "continues no session": Bad({"continues": ["Ben"]}, "continues", ("is not a session id",)),
    "continues as text": Bad({"continues": "k3vd81qa"}, "continues", ("must be a list of texts",)),
    "continues too many": Bad({"continues": ["k3vd81qa"] * 21}, "continues", ("at most 20",)),
    "open as list": not_text("open", ["/arc/home/ada"]),
    "cmd as list": Bad({"cmd": ["python", "-c"]}, "cmd", ("must be text",), base=JOB),
    "image as dict": Bad({"image": {"name": "x"}}, "image", ("must be text",), base=NONE),
    "projects as text": Bad({"projects": "demo"}, "projects", ("list of texts",)),
    "projects as dict": Bad({"projects": {"demo": True}}, "projects", ("list of texts",)),
    "projects with a number": Bad({"projects": ["demo", 5]}, "projects", ("list of texts",)),
    "projects with a list": Bad({"projects": [["demo"]]}, "projects", ("list of texts",)),
    "args as text": Bad({"cmd": "a", "args": "-c x"}, "args", ("list of texts",), base=JOB),
    "args with null": Bad({"cmd": "a", "args": [None]}, "args", ("list of texts",), base=JOB),
}


def whole(case: Bad) -> dict[str, Any]:
    """Put the mistake into a request that also carries a secret, where it can."""
    options = {**case.base, **case.options}
    return options if "env" in options else {**options, "env": {"MY_TOKEN": SECRET}}


def by_form() -> dict[str, tuple[Bad, dict[str, list[str]]]]:
    """Give the cases that a form can send; an input of it has no other type than text."""
    cases = {}
    for title, case in CASES.items():
        if title in {"projects as text", "continues as text", "args as text"}:
            continue
        with contextlib.suppress(KeyError):
            cases[title] = case, encode_form(whole(case))
    return cases


def refusal_of(options: dict[str, Any], case: Bad) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        plan(options, EVE if case.eve else ADA)
    return caught.value


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bad_input(case: Bad) -> None:
    refusal = refusal_of(whole(case), case)
    assert type(refusal) is case.error
    assert refusal.code == case.code
    assert refusal.field == case.field
    assert refusal.status == 400
    if case.allowed is not None:
        assert refusal.allowed == case.allowed
    for word in case.words:
        assert word in refusal.sentence
    assert refusal.sentence.isprintable()  # so one line, too
    assert len(refusal.sentence) <= 400
    for text in (refusal.sentence, str(refusal), repr(refusal.as_json()), refusal.detail):
        assert SECRET not in text
        assert len(text) <= 1000
        assert not [trace for trace in TRACES if trace in text]


FORMS = by_form()


@pytest.mark.parametrize(("case", "fields"), FORMS.values(), ids=FORMS)
def test_bad_input_by_form(case: Bad, fields: dict[str, list[str]]) -> None:
    by_api = facts(refusal_of(whole(case), case))
    assert facts(refusal_of(options_from_fields(fields), case)) == by_api


def test_the_form_can_send_most_mistakes() -> None:
    assert len(FORMS) > 80


def test_the_good_requests_are_good() -> None:
    for base in (JOB, CUSTOM, CARTA, {"container": "astroml"}, {"container": "desktop"}):
        plan({**base, "env": {"MY_TOKEN": SECRET}})
