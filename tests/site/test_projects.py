"""``canfar-hub project``: the catalogue keeps its comments and its order, or stays as it was."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml

from canfar_spawner.cli.projects import ProjectError, add, held, wanted, with_project
from canfar_spawner.core.policy import Project, SitePolicy
from canfar_spawner.site.files import load
from tests.site.test_cli import CATALOGUE, USERS, canfar_hub

M31 = Project(name="m31", group="m31", title="Andromeda: dust & gas # no comment")
BODY = """# A site.
version: 1
catalogue: # with one container
  registry: registry.example.org
  containers:
    - {name: one, title: One, description: One., icon: notebook, kinds: [notebook], image: p/one,
       versions: [{name: "1", recommended: true}]}
"""

ENDINGS = {
    "none": "",
    "no line end": "limits: {interactive: 3}",
    "empty list": "projects: []  # soon\nlimits: {interactive: 3}\n",
    "flow": "projects: [{name: a, group: a}]\nlimits: {interactive: 3}\n",
    "flow over lines": "projects: [\n  {name: a, group: a}, # the first\n]\n",
    "block": "projects:\n  - {name: a, group: a} # the first\n  # nothing more\nlimits: {interactive: 3}\n",
    "block without indent": "projects:\n- name: a\n  group: a\n\n# limits\nlimits: {interactive: 3}\n",
    "nested block": "projects:\n    -   name: a\n        title: >\n          A long\n          title.\n        group: a\n# end\n",
    "last line": "projects:\n  - {name: a, group: a}",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_project_is_added_and_nothing_else_changes(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(BODY + ending)
    path.chmod(0o640)
    before = load(path, SitePolicy)
    add(path, M31)
    after = load(path, SitePolicy)
    assert after.projects == (*before.projects, M31)
    assert after.model_copy(update={"projects": before.projects}) == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    kept = [line for line in (BODY + ending).splitlines() if "#" in line]
    text = path.read_text()
    for line in kept:
        assert line.partition("#")[2] in text, "a comment is lost"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_of_this_project_grows_by_one_line() -> None:
    before = CATALOGUE.read_text()
    after = with_project(before, M31)
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert added == [
        "  - {name: m31, title: 'Andromeda: dust & gas # no comment', group: m31}",
    ]
    assert len(after.splitlines()) == len(before.splitlines()) + 1


ONE_LINE = (
    "{catalogue: {registry: r.example.org, containers: [{name: one, title: One, description: One.,"
    " icon: notebook, kinds: [notebook], image: p/one, versions: [{name: '1'}]}]}}\n"
)


@pytest.mark.parametrize(
    "text",
    ["version: [1\n", ONE_LINE, f"{BODY}limits: {{interactive: 3}}\n...\n"],
    ids=["broken", "one line", "with an end"],
)
def test_what_cannot_be_added_to_stays_as_it_was(tmp_path: Path, text: str) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(text)
    done = canfar_hub(
        "project",
        "create",
        "m31",
        "--group",
        "demo",
        "--catalogue",
        str(path),
        CANFAR_HUB_DATA=str(tmp_path),
    )
    assert done.returncode == 2
    assert path.read_text() == text
    assert "Traceback" not in done.stderr
    assert str(path) in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("../etc", "--group", "demo"), "../etc cannot be the name of a project"),
        (("demo", "--group", "demo"), "has a project demo already"),
        (("m31", "--group", "Demo group"), "Demo group cannot be the name of a group"),
        (("m31", "--group", "demo", "--title", "x" * 121), "The title is too long"),
    ],
)
def test_bad_words_are_refused_in_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(CATALOGUE.read_text())
    done = canfar_hub("project", "create", *arguments, "--catalogue", str(path))
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert path.read_text() == CATALOGUE.read_text()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.yaml"
    done = canfar_hub("project", "show", "--catalogue", str(path))
    assert done.returncode == 2
    assert str(path) in done.stderr


def test_what_is_left_to_do_is_said(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(CATALOGUE.read_text())
    done = canfar_hub(
        "project",
        "create",
        "m31",
        "--group",
        "m31",
        "--catalogue",
        str(path),
        CANFAR_HUB_DATA=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert "give the group m31 a gid" in done.stdout
    checked = canfar_hub("check", "--catalogue", str(path))
    assert "the project m31 needs the group m31" in checked.stdout


def test_the_directory_is_made_and_shown_with_what_it_holds(tmp_path: Path) -> None:
    path, users, data = tmp_path / "catalogue.yaml", tmp_path / "users.yaml", tmp_path / "data"
    path.write_text(CATALOGUE.read_text())
    people = yaml.safe_load(USERS.read_text())
    # Only root may give a directory to a group that it is not in.
    people["groups"]["m31"] = os.getgid() if os.getgid() >= 1000 else 30003
    people["users"]["ben"]["groups"].append("m31")
    users.write_text(yaml.safe_dump(people))
    (data / "arc" / "projects").mkdir(parents=True)
    files = ("--catalogue", str(path), "--users", str(users))
    done = canfar_hub(
        "project", "create", "m31", "--group", "m31", *files, CANFAR_HUB_DATA=str(data)
    )
    assert done.returncode == 0, done.stderr
    made = data / "arc" / "projects" / "m31"
    assert stat.S_IMODE(made.stat().st_mode) == 0o2770
    (made / "cal").mkdir()
    (made / "cal" / "one.fits").write_bytes(b"x" * 5000)
    (made / "link").symlink_to(path)
    shown = canfar_hub("project", "show", "m31", *files, CANFAR_HUB_DATA=str(data))
    assert shown.returncode == 0, shown.stderr
    head, row = shown.stdout.splitlines()
    assert head.split()[:4] == ["PROJECT", "GROUP", "GID", "MEMBERS"]
    assert row.split()[:4] == ["m31", "m31", str(people["groups"]["m31"]), "ben"]
    assert row.endswith("in 2 files")
    every = canfar_hub("project", "show", *files, CANFAR_HUB_DATA=str(data)).stdout
    assert [line.split()[0] for line in every.splitlines()] == ["PROJECT", "demo", "survey", "m31"]
    unknown = canfar_hub("project", "show", "m33", *files, CANFAR_HUB_DATA=str(data))
    assert unknown.returncode == 2
    assert unknown.stderr == "There is no project m33; there is demo, m31, survey.\n"


def test_counting_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "file").write_text("x")
    assert held(tmp_path).files == 1


def test_a_catalogue_that_changes_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(CATALOGUE.read_text())
    changed = CATALOGUE.read_text() + "# by somebody else\n"

    def meanwhile(text: str, project: Project) -> str:
        path.write_text(changed)
        return with_project(text, project)

    monkeypatch.setattr("canfar_spawner.cli.projects.with_project", meanwhile)
    with pytest.raises(ProjectError, match="changed meanwhile"):
        add(path, wanted("m31", "m31", ""))
    assert path.read_text() == changed
