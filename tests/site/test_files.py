"""Reading a site's files: every mistake with its place and what to write instead."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.site.files import SiteFileError, WatchedFile, load
from canfar_spawner.site.policy import policy_schema, watch_policy
from canfar_spawner.site.users_file import Users
from tests.support.hub import ROOT

CATALOGUE = ROOT / "hub_config" / "catalogue.yaml"
LOG = logging.getLogger("tests.site")
Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> str:
    content = yaml.safe_load(CATALOGUE.read_text())
    change(content)
    return yaml.safe_dump(content, sort_keys=False)


def problems(path: Path, text: str | bytes, model: type[Any] = SitePolicy) -> list[str]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SiteFileError) as caught:
        load(path, model)
    for line in str(caught.value).splitlines():
        assert line.startswith(f"{path}: ")
    return [str(problem) for problem in caught.value.problems]


def first(content: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = content["catalogue"]["containers"][0]
    return container


NO_KEY = "there is no such key; did you mean"
NO_WORD = "is not one of the words allowed here; did you mean"
MISTAKES: dict[str, tuple[Change, str]] = {
    "key of the file": (
        lambda site: site.update(limts={"interactive": 3}),
        f"limts: {NO_KEY} limits?",
    ),
    "key of a container": (
        lambda site: first(site).update(kind=["notebook"]),
        f"catalogue.containers[0].kind: {NO_KEY} kinds?",
    ),
    "key of a version": (
        lambda site: first(site)["versions"][0].update(recomended=True),
        f"catalogue.containers[0].versions[0].recomended: {NO_KEY} recommended?",
    ),
    "key deep in sizes": (
        lambda site: site["resources"]["default"]["flexible"].update(core_limit=3),
        f"resources.default.flexible.core_limit: {NO_KEY} cores_limit?",
    ),
    "key like no other": (
        lambda site: site["projects"][0].update(zzz=1),
        "projects[0].zzz: there is no such key; known are group, name or title",
    ),
    "kind": (
        lambda site: site["catalogue"]["containers"][1].update(kinds=["notbook"]),
        f"catalogue.containers[1].kinds[0]: notbook {NO_WORD} notebook?",
    ),
    "kind as a key": (
        lambda site: site["resources"]["kinds"].update(notbook={}),
        f"resources.kinds.notbook: notbook {NO_WORD} notebook?",
    ),
    "entry": (
        lambda site: first(site).update(entry="gatway"),
        f"catalogue.containers[0].entry: gatway {NO_WORD} gateway?",
    ),
    "persistence": (
        lambda site: site["storage"]["home"].update(persistence="kept for ever"),
        "storage.home.persistence: kept for ever is not one of the words allowed here; known are",
    ),
    "missing key": (lambda site: site.pop("catalogue"), "catalogue: this key is required"),
    "missing deep key": (
        lambda site: first(site).pop("description"),
        "catalogue.containers[0].description: this key is required",
    ),
    "wrong type": (
        lambda site: site["limits"].update(interactive="many"),
        "limits.interactive: Input should be a valid integer",
    ),
    "source of images": (
        lambda site: site["images"].update(sources=["UPPER/x"]),
        "images: UPPER/x is neither registry nor registry/project",
    ),
    "successor": (
        lambda site: first(site)["versions"][1].update(successor="99"),
        "catalogue.containers[0]: the successor 99 is not one of the versions",
    ),
    "two containers of one name": (
        lambda site: site["catalogue"]["containers"].append(first(site)),
        "catalogue: astroml stands for both astroml and astroml",
    ),
    "two projects of one name": (
        lambda site: site["projects"].append(site["projects"][0]),
        "two projects have the same name",
    ),
    "default": (
        lambda site: site.update(defaults={"notebook": "nosuch"}),
        "the default of notebook, nosuch, is not a container",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, mistake: str) -> None:
    change, words = MISTAKES[mistake]
    found = problems(tmp_path / "catalogue.yaml", changed(change))
    assert any(problem.startswith(words) for problem in found), found


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    def spoil(site: dict[str, Any]) -> None:
        site["limts"] = {}
        first(site)["kind"] = []
        site["limits"]["interactive"] = -1
        del site["catalogue"]["registry"]

    found = problems(tmp_path / "catalogue.yaml", changed(spoil))
    assert {problem.partition(":")[0] for problem in found} == {
        "limts",
        "catalogue.containers[0].kind",
        "catalogue.registry",
        "limits.interactive",
    }


NO_YAML: dict[str, tuple[str | bytes, str]] = {
    "a key twice": (
        "limits: {}\nversion: 1\nlimits: {}\n",
        "line 3: the key limits is given twice",
    ),
    "a deep key twice": (
        "catalogue:\n  registry: a.b\n  containers: []\n  registry: c.d\n",
        "line 4: the key registry is given twice",
    ),
    "a key of a list twice": (
        "projects:\n  - {name: a, group: b, name: c}\n",
        "line 2: the key name is given twice",
    ),
    "a tab": ("limits:\n\tinteractive: 3\n", "line 2: "),
    "an open bracket": ("projects: [\n", "line 2: "),
    "a tag": ("!!python/object/apply:os.system ['true']\n", "line 1: could not determine"),
    "no UTF-8": (b"branding: {name: \xff}\n", "cannot be read: "),
    "a key that is a list": ("? [a]\n: 1\n", "line 1: a key must be a word"),
    "a date of no calendar": ("version: 2026-13-45\n", "is not YAML: "),
    "brackets without end": ("x: " + "[" * 5000, "is not YAML: "),
    "nothing": ("", "Input should be"),
    "a list": ("- 1\n", "Input should be"),
}


@pytest.mark.parametrize("case", NO_YAML)
def test_what_is_no_yaml_is_told(tmp_path: Path, case: str) -> None:
    text, words = NO_YAML[case]
    (found,) = problems(tmp_path / "catalogue.yaml", text)
    assert found.startswith(words)


def test_a_list_whose_only_entry_is_wrong_is_one_mistake(tmp_path: Path) -> None:
    text = changed(lambda site: first(site).update(kinds=["notbook"]))
    assert len(problems(tmp_path / "catalogue.yaml", text)) == 1


def test_what_is_the_same_may_be_written_once(tmp_path: Path) -> None:
    text = CATALOGUE.read_text().replace(
        "storage:\n", "storage:\n  home: &kept {persistence: kept and backed up}\n", 1
    )
    path = tmp_path / "catalogue.yaml"
    lines = [line for line in text.splitlines() if "kept, no backup" not in line]
    at = lines.index("  home: &kept {persistence: kept and backed up}")
    lines.insert(at + 1, "  projects: {<<: *kept}")
    path.write_text("\n".join(lines))
    assert load(path, SitePolicy).storage.projects.persistence == "kept and backed up"


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SiteFileError, match="cannot be read"):
        load(tmp_path / "nosuch.yaml", SitePolicy)


def replace(path: Path, text: str) -> None:
    """Write as editors do: a new file in the old one's place."""
    partial = path.with_suffix(".part")
    partial.write_text(text)
    partial.replace(path)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(changed(lambda _: None))
    watched = watch_policy(path, LOG)
    assert watched.value.limits.interactive == 3
    assert watched.value is watched.value  # not read while it is the same
    replace(path, changed(lambda site: site["limits"].update(interactive=5)))
    assert watched.value.limits.interactive == 5
    # The same length at the same time: the file is another one.
    seen = path.stat()
    replace(path, changed(lambda site: site["limits"].update(interactive=7)))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert watched.value.limits.interactive == 7


def test_a_broken_file_keeps_what_was_read_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(changed(lambda _: None))
    watched = WatchedFile(path, SitePolicy, LOG)
    before = watched.value
    replace(path, changed(lambda site: site["limits"].update(interactiv=5)))
    assert watched.value is before
    assert "limits.interactiv: there is no such key; did you mean interactive?" in caplog.text
    caplog.clear()
    assert watched.value is before
    assert not caplog.records, "said once, not at every look"
    path.unlink()
    assert watched.value is before
    assert "cannot be read" in caplog.text
    replace(path, changed(lambda site: site["limits"].update(interactive=5)))
    assert watched.value.limits.interactive == 5


def test_a_file_that_is_broken_from_the_start_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text("limits: {interactive: 3}\n")
    with pytest.raises(SiteFileError, match="catalogue: this key is required"):
        watch_policy(path, LOG)


def test_the_files_of_this_project_are_right() -> None:
    policy = load(CATALOGUE, SitePolicy)
    users = load(ROOT / "hub_config" / "users.yaml", Users)
    names = [container.name for container in policy.catalogue.containers]
    first_seven = ["astroml", "casa", "carta", "desktop", "notebook", "firefly", "marimo"]
    assert names == [*first_seven, "webterminal"]
    assert {project.group for project in policy.projects} <= users.groups.keys()
    assert users.demo
    assert [name for name, user in users.users.items() if user.admin] == ["admin"]


def test_the_schema_accepts_the_file_of_this_project() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(policy_schema())
    content = yaml.safe_load(CATALOGUE.read_text())
    assert list(validator.iter_errors(content)) == []
    first(content)["kinds"] = ["notbook"]
    content["limts"] = {}
    places = {"/".join(map(str, error.path)) for error in validator.iter_errors(content)}
    assert places == {"", "catalogue/containers/0/kinds/0"}
