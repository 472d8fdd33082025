"""House rules that no linter knows."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path
    for folder in ("canfar_spawner", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts
)
PACKAGE = [path for path in MODULES if path.is_relative_to(ROOT / "canfar_spawner")]
CORE = [path for path in PACKAGE if path.is_relative_to(ROOT / "canfar_spawner" / "core")]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_modules_are_found() -> None:
    assert len(CORE) >= 20
    assert Path(__file__).resolve() in [path.resolve() for path in MODULES]


def test_no_module_is_longer_than_five_hundred_lines() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > 500} == {}


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert [name(path) for path in MODULES if path.name in drawers] == []


def _documented_above(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Say whether a method takes the place of one that has its own documentation."""
    marks = (each.id for each in node.decorator_list if isinstance(each, ast.Name))
    return "override" in marks and ast.get_docstring(node) is None


def _public(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("_") or _documented_above(child):
                continue
            yield f"{prefix}{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from _public(child, f"{prefix}{child.name}.")


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_public_names_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    named = [(word, ast.get_docstring(node)) for word, node in _public(tree)]  # type: ignore[arg-type]
    missing = [word for word, text in named if not text]
    if not ast.get_docstring(tree):
        missing.insert(0, "the module")
    assert missing == []


@pytest.mark.parametrize("path", CORE, ids=name)
def test_the_core_imports_nothing_but_itself_and_pydantic(path: Path) -> None:
    impure = {"os", "socket", "subprocess", "time", "random", "secrets", "asyncio", "pathlib"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            modules = [node.module or ""]
            names = {alias.name for alias in node.names}
            # Pydantic brings typing_extensions; Python 3.11 has no override of its own.
            if names <= {"pathlib": {"PurePosixPath"}, "typing_extensions": {"override"}}.get(
                modules[0], set()
            ):
                continue
        else:
            continue
        for module in modules:
            top = module.partition(".")[0]
            assert top in {"pydantic", "canfar_spawner"} or top in sys.stdlib_module_names
            assert top not in impure
            if top == "canfar_spawner":
                assert module.split(".")[1] == "core"


@pytest.mark.parametrize("path", CORE, ids=name)
def test_the_core_has_no_clock(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = {call.func.attr for call in calls if isinstance(call.func, ast.Attribute)}
    assert not names & {"now", "utcnow", "today", "monotonic", "perf_counter"}
