"""The documents say what the code does, and point to what is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from canfar_spawner.core.request import FIELDS
from canfar_spawner.hub.service import ADDRESS as SESSIONS_URL
from canfar_spawner.site.policy import policy_schema

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NOT_OURS = {".git", "node_modules", "build", "dist", "var", ".yarn", ".venv", ".pytest_cache"}
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if NOT_OURS.isdisjoint(path.relative_to(ROOT).parts[:-1])
    # It describes files of the project directory that it is copied to.
    and "sample" not in path.parts
)
STATES = {"local", "cluster", "stand-in", "site's job", "not yet"}
SHOWN = {"local", "cluster", "stand-in"}
HOSTS = {
    "127.0.0.1",
    "hub.jupyter.org",
    "hub.localhost",
    "ada.hub.localhost",
    "jupyterhub.readthedocs.io",
    "keepachangelog.com",
    "www.opencadc.org",
}
PLACES = {"arc", "dev", "hub", "run", "scratch", "services", "tmp", "user"}
"""Where absolute paths of the documents begin: in a session, or in an address of the hub."""

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    return _FENCE.sub("", path.read_text())


def code(path: Path) -> Iterator[str]:
    """Give what a page has in code blocks, line by line, and in backticks."""
    for block in _FENCE.findall(path.read_text()):
        yield from block.splitlines()[1:-1]
    yield from _CODE.findall(prose(path))


def rows(text: str) -> Iterator[list[str]]:
    """Give the cells of each row of tables, heads and rules left out."""
    lines = text.splitlines()
    for line, following in pairwise([*lines, ""]):
        if line.startswith("|") and not following.startswith("|--") and not line.startswith("|--"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def section(path: Path, heading: str) -> str:
    found = re.search(
        rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#|\Z)", path.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found, f"{name(path)} has no section {heading}"
    return found[2]


def first_words(text: str) -> set[str]:
    """Give everything in backticks in the first column of the tables of a text."""
    return {word for cells in rows(text) for word in _CODE.findall(cells[0])}


CONCEPTS = [cells for cells in rows((DOCS / "concepts.md").read_text()) if len(cells) == 4]


def test_the_pages_are_found() -> None:
    assert {ROOT / "README.md", DOCS / "concepts.md", DOCS / "user" / "index.md"} <= set(PAGES)
    assert len(CONCEPTS) >= 40


# Concepts


def functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("cells", CONCEPTS, ids=lambda cells: str(cells[0])[:60])
def test_a_claim_has_a_state_and_a_test_that_exists(cells: list[str]) -> None:
    _, where, tests, state = cells
    assert state in STATES
    named = _CODE.findall(tests)
    assert (tests == "-") == (not named)
    assert bool(named) == (state in SHOWN), "what is there is shown by a test, nothing else is"
    for node in named:
        file, separator, function = node.partition("::")
        assert separator
        assert function.startswith("test_")
        assert function in functions(ROOT / file), node
    for path in _CODE.findall(where):
        assert (ROOT / path).exists(), path


def test_no_claim_is_made_twice() -> None:
    claims = [cells[0] for cells in CONCEPTS]
    assert sorted(set(claims)) == sorted(claims)


# Links, commands, addresses


def anchors(path: Path) -> set[str]:
    """Give the anchors that a forge makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in _LINK.findall(prose(path)):
        target = urlsplit(link)
        if target.scheme:
            continue
        file = (path.parent / target.path).resolve() if target.path else path
        if file.parent == DOCS / "images" and not list(file.parent.glob("*.png")):
            continue  # no screenshots have been kept here yet: `make docs` makes them
        assert file.exists(), link
        if target.fragment:
            assert target.fragment in anchors(file), link


def test_screenshots_of_the_documents_are_taken() -> None:
    # One that takes an image of gigabytes is taken on a cluster, and not by `make docs`.
    tests = (
        test.read_text()
        for place in ("browser", "cluster")
        for test in (ROOT / "tests" / place).glob("*.py")
    )
    taken = [shot for test in tests for shot in re.findall(r'"([^"\s]+\.png)"', test)]
    # Some names have that of the test's parameter in them.
    patterns = [r"[\w-]+".join(map(re.escape, re.split(r"\{\w+\}", shot))) for shot in taken]
    wanted = {
        Path(link).name
        for path in PAGES
        for link in _LINK.findall(prose(path))
        if "/images/" in link and link.endswith(".png")
    }
    assert wanted
    for image in wanted:
        assert any(re.fullmatch(pattern, image) for pattern in patterns), image


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_targets_of_make_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in code(path):
        for target in re.findall(r"^(?:\w+=\S+ )*make ([a-z][a-z-]*)", line.strip()):
            assert target in targets, line


def test_stages_and_parts_of_the_tests_are_described() -> None:
    page = DOCS / "developer" / "index.md"
    stages = ast.parse((ROOT / "tests" / "stages.py").read_text())
    (known,) = (
        {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
        for node in stages.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Dict)
        and ast.unparse(node.targets[0]) == "STAGES"
    )
    described = first_words(section(page, "Tests"))
    assert described == known


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_pages_name_no_place_of_one_machine(path: Path) -> None:
    text = path.read_text()
    for address in re.findall(r"https?://[^\s)>`\"'<]+", text):
        assert urlsplit(address).hostname in HOSTS, address
    for words in code(path):
        # An absolute path begins a word; ~/ and ./ and $HUB/ are none.
        for place in re.findall(r"(?:^|[\s\"'=(])/([A-Za-z][\w.-]*)", words):
            assert place in PLACES, words


# README, changelog


def apt_words(text: str) -> list[str]:
    return [line for line in text.splitlines() if "apt-get install" in line]


LISTS = ("packages.txt", "packages-cluster.txt")


def test_packages_are_listed_once() -> None:
    listed = [(ROOT / each).read_text().split() for each in LISTS]
    assert set(listed[0]).isdisjoint(listed[1])
    readme = apt_words((ROOT / "README.md").read_text())
    for line, each in zip(readme, LISTS, strict=True):
        assert line.endswith(f"$(cat {each})")
    script = (ROOT / ".ci" / "run").read_text()
    (ci,) = apt_words(script)
    assert f"< <(cat {' '.join(LISTS)})" in script
    for package in (*listed[0], *listed[1]):
        assert all(package not in line.split() for line in (*readme, ci))


def variables_in(text: str) -> set[str]:
    """Give the variables of the hub that a source reads: each is a text of its own."""
    return {
        node.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"CANFAR_(CARTA|(HUB|SESSIONS)_[A-Z_]+)", node.value)
        # Made by the hub for its sessions.
        and node.value != SESSIONS_URL
    }


def test_readme_has_the_variables_of_a_local_hub() -> None:
    local = ROOT / "canfar_spawner" / "local"
    read = variables_in((local / "settings.py").read_text())
    read |= variables_in((local / "environments.py").read_text())
    assert first_words((ROOT / "README.md").read_text()) == read


ON_CLUSTER = [
    ROOT / "hub_config" / "kubernetes.py",
    *(ROOT / "canfar_spawner" / "kubernetes").rglob("*.py"),
]


def test_the_administrators_page_has_every_variable() -> None:
    sources = [*(ROOT / "canfar_spawner").rglob("*.py"), *(ROOT / "hub_config").rglob("*.py")]
    read = {
        word
        for path in sources
        if path not in ON_CLUSTER
        for word in variables_in(path.read_text())
    }
    assert first_words(section(DOCS / "admin" / "index.md", "Variables")) == read


def test_the_page_on_kubernetes_has_every_variable_of_its_configuration() -> None:
    read = {word for path in ON_CLUSTER for word in variables_in(path.read_text())}
    # Read together with the variable of the same name that holds the secret itself.
    read |= {f"{name}_FILE" for name in read if name.endswith("_TOKEN")}
    assert len(read) >= 18
    assert first_words(section(DOCS / "admin" / "kubernetes.md", "Variables")) == read


def test_the_changelog_begins_with_security() -> None:
    headings = re.findall(r"^(##+) (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[:2] == [("##", "Unreleased"), ("###", "Security")]


# What pages repeat of the code


def leaves(schema: dict[str, Any], node: dict[str, Any], path: str = "") -> Iterator[str]:
    """Give the keys of a file by its JSON schema, as ``projects[].name``."""
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    if "anyOf" in node:
        choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
        found = [leaf for choice in choices for leaf in leaves(schema, choice, path)]
        # Beside an object, a text is a short way to write it.
        yield from [leaf for leaf in found if leaf != path] or [path]
    elif node.get("type") == "array":
        yield from leaves(schema, node["items"], f"{path}[]")
    elif node.get("properties"):
        for key, value in node["properties"].items():
            yield from leaves(schema, value, f"{path}.{key}" if path else key)
    else:
        yield path


def test_every_key_of_the_catalogue_is_described() -> None:
    schema = policy_schema()
    described = first_words(section(DOCS / "admin" / "index.md", "catalogue.yaml"))
    assert described == set(leaves(schema, schema))


def test_every_container_is_described() -> None:
    content = yaml.safe_load((ROOT / "hub_config" / "catalogue.yaml").read_text())
    names = {container["name"] for container in content["catalogue"]["containers"]}
    assert first_words(section(DOCS / "user" / "sessions.md", "Containers")) == names


def test_every_field_of_a_request_is_described() -> None:
    text = section(DOCS / "user" / "sessions.md", "From a script")
    described = {word for cells in rows(text) for cell in cells[:2] for word in _CODE.findall(cell)}
    assert set(FIELDS) <= described
    assert first_words(text) <= set(FIELDS)


def test_every_variable_of_a_session_is_described() -> None:
    package = ROOT / "canfar_spawner"
    modules = ("core/variables.py", "local/run.py", "kubernetes/manifests.py")
    source = "".join((package / module).read_text() for module in modules)
    given = set(re.findall(r'"(CANFAR_[A-Z_]+)"', source))
    text = section(DOCS / "user" / "sessions.md", "What a session knows of itself")
    assert first_words(text) == given
