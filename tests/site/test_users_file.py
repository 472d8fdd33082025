"""Identities from the users file."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from canfar_spawner.core.errors import NotAllowed
from canfar_spawner.core.policy import Project
from canfar_spawner.site.files import SiteFileError, WatchedFile, load
from canfar_spawner.site.users_file import Users, UsersFile

PROJECTS = (Project(name="demo", group="demo"), Project(name="survey", group="survey"))
GOOD = """\
groups: {demo: 30001, survey: 30002}
users:
  ada: {uid: 20001, groups: [survey, demo]}
  ben: {uid: 20002, gid: 30002}
  eve: {uid: 20003}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "users.yaml"
    found.write_text(GOOD)
    return found


@pytest.fixture
def source(path: Path) -> UsersFile:
    return UsersFile(WatchedFile(path, Users, logging.getLogger("tests.site")), lambda: PROJECTS)


def test_groups_open_projects(source: UsersFile) -> None:
    ada = source.identity("ada")
    assert (ada.uid, ada.group.gid, ada.group.name) == (20001, 20001, "ada")
    assert ada.gids == (30001, 30002)
    assert ada.projects == ("demo", "survey")
    assert source.identity("eve").projects == ()


def test_a_primary_group_opens_its_project(source: UsersFile) -> None:
    ben = source.identity("ben")
    assert (ben.group.gid, ben.group.name, ben.gids) == (30002, "survey", ())
    assert ben.projects == ("survey",)


def test_a_user_may_be_called_like_the_group_that_is_hers_by_its_gid(
    source: UsersFile, path: Path
) -> None:
    path.write_text("groups: {demo: 30001}\nusers: {demo: {uid: 20001, gid: 30001}}\n")
    demo = source.identity("demo")
    assert (demo.group.gid, demo.group.name, demo.projects) == (30001, "demo", ("demo",))


def test_a_project_of_a_group_that_the_file_lacks_is_nobodys(path: Path) -> None:
    """Also not that of a user whose own group is called so."""
    projects = (Project(name="eve", group="eve"),)
    source = UsersFile(WatchedFile(path, Users, logging.getLogger("tests.site")), lambda: projects)
    eve = source.identity("eve")
    assert (eve.group.gid, eve.projects) == (20003, ())


@pytest.mark.parametrize("name", ["", "ADA", "nobody", "root", "ada ", "../ada", "ada\n"])
def test_there_is_no_default_identity(source: UsersFile, name: str) -> None:
    with pytest.raises(NotAllowed) as caught:
        source.identity(name)
    assert caught.value.code == "unknown_user"
    assert "\n" not in caught.value.sentence


def test_who_is_taken_out_has_no_identity_any_more(source: UsersFile, path: Path) -> None:
    assert source.identity("eve").uid == 20003
    path.write_text(GOOD.replace("  eve: {uid: 20003}\n", ""))
    with pytest.raises(NotAllowed):
        source.identity("eve")
    path.write_text("users: {eve: {uid: 0}}\n")  # broken: what was read before holds
    assert source.identity("ada").uid == 20001


BROKEN = {
    "uid of root": ("users: {ada: {uid: 0}}", "users.ada.uid: "),
    "uid of the system": ("users: {ada: {uid: 999}}", "users.ada.uid: "),
    "uid of 2^31 - 1": ("users: {ada: {uid: 2147483647}}", "users.ada.uid: "),
    "negative uid": ("users: {ada: {uid: -5}}", "users.ada.uid: "),
    "uid as text": ('users: {ada: {uid: "20001"}}', "users.ada.uid: "),
    "uid as a truth": ("users: {ada: {uid: true}}", "users.ada.uid: "),
    "uid as a fraction": ("users: {ada: {uid: 20001.5}}", "users.ada.uid: "),
    "no uid": ("users: {ada: {}}", "users.ada.uid: this key is required"),
    "no users": ("users: {}", "users: "),
    "gid of the system": ("groups: {demo: 10}\nusers: {ada: {uid: 20001}}", "groups.demo: "),
    "name with a slash": ("users: {a/b: {uid: 20001}}", "users.a/b: "),
    "name in upper case": ("users: {Ada: {uid: 20001}}", "users.Ada: "),
    "name with two dots": ("users: {'..': {uid: 20001}}", "users..."),
    "two of one uid": (
        "users: {ada: {uid: 20001}, ben: {uid: 20001}}",
        "ben and ada have the same uid 20001",
    ),
    "two groups of one gid": (
        "groups: {a: 30001, b: 30001}\nusers: {ada: {uid: 20001}}",
        "b and a have the same gid 30001",
    ),
    "group without gid": (
        "users: {ada: {uid: 20001, groups: [demo]}}",
        "ada is in the group demo, which has no gid",
    ),
    "own group is another's": (
        "groups: {demo: 20001}\nusers: {ada: {uid: 20001}}",
        "the own group of ada has the gid of demo",
    ),
    "own group is called like another": (
        "groups: {demo: 30001}\nusers: {demo: {uid: 20001}}",
        "the own group of demo has the name of a group",
    ),
    "primary group without a name is called like another": (
        "groups: {demo: 30001}\nusers: {demo: {uid: 20001, gid: 20005}}",
        "the own group of demo has the name of a group",
    ),
    "primary group is somebody else's own": (
        "users: {ada: {uid: 20001}, ben: {uid: 20002, gid: 20001}}",
        "the gid of ben is the uid of ada: 20001",
    ),
    "primary group is the uid of one who comes later": (
        "users: {ada: {uid: 20001, gid: 20002}, ben: {uid: 20002, gid: 20005}}",
        "the gid of ada is the uid of ben: 20002",
    ),
    "misspelt key": (
        "users: {ada: {uid: 20001, group: [demo]}}",
        "users.ada.group: there is no such key; did you mean groups?",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_gives_somebody_elses_files_away_is_refused(path: Path, case: str) -> None:
    text, words = BROKEN[case]
    path.write_text(text)
    with pytest.raises(SiteFileError) as caught:
        load(path, Users)
    assert any(str(problem).startswith(words) for problem in caught.value.problems), caught.value
