"""``canfar-hub project``: projects in the catalogue, and what there is of them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from pydantic import ValidationError
from typing_extensions import override

from canfar_spawner.core.errors import shown
from canfar_spawner.core.policy import Project, SitePolicy
from canfar_spawner.local.provision import Provisioner
from canfar_spawner.local.settings import LocalSettings
from canfar_spawner.site.files import SiteFileError, load
from canfar_spawner.site.users_file import Users

_KEY: Final = "projects"
_MOST_FILES: Final = 200_000
"""How many files of a project are counted at most; more would take too long."""


class ProjectError(Exception):
    """What was asked for cannot be done; says why in a sentence."""


# Editing the file


def _entry(project: Project) -> str:
    """Write a project as one line of YAML, as the file that comes with the hub does."""
    words = {"name": project.name, "title": project.title, "group": project.group}
    return yaml.safe_dump(
        {key: value for key, value in words.items() if value},
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=10_000,
    ).strip()


def _end(node: yaml.Node) -> int:
    """Give where the last thing that is written of a node ends.

    The end that YAML gives of an indented collection lies behind the comments after it.
    """
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _end_of_line(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found


def with_project(text: str, project: Project) -> str:
    """Add a project to the text of a catalogue, leaving everything else as it stands.

    Parameters
    ----------
    text : str
        A catalogue that is right.
    project : Project
    """
    entry = _entry(project)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ProjectError("The catalogue is not a mapping of keys.")
    found = [value for key, value in root.value if key.value == _KEY]
    if not found:
        return f"{text.rstrip()}\n\n{_KEY}:\n  - {entry}\n"
    (node,) = found
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    if not node.value:
        # An empty list becomes one of lines.
        return f"{text[:start].rstrip(' ')}\n  - {entry}{text[end:]}"
    last = _end(node.value[-1])
    if node.flow_style:
        return f"{text[:last]}, {entry}{text[last:]}"
    last = _end_of_line(text, last)
    return f"{text[:last]}\n{' ' * node.start_mark.column}- {entry}{text[last:]}"


def _checked(path: Path, text: str, before: SitePolicy, project: Project) -> None:
    """Make sure that a text is the catalogue as it was with one project more."""
    expected = before.model_copy(update={"projects": (*before.projects, project)})
    try:
        after = load(path, SitePolicy)
    except SiteFileError:
        after = None
    if after != expected:
        raise ProjectError(
            f"{text} is written in a way that this command cannot add to. Add the line yourself:\n"
            f"  - {_entry(project)}"
        )


def add(catalogue: Path, project: Project) -> None:
    """Add a project to a catalogue file; a file that would not be right is never put in place.

    Raises
    ------
    SiteFileError
        The catalogue is broken already.
    ProjectError
        It has the project, or cannot be written.
    """
    path = catalogue.resolve()
    before = load(path, SitePolicy)
    if project.name in before.project_names:
        raise ProjectError(f"{catalogue} has a project {project.name} already.")
    text = path.read_text(encoding="utf-8")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        new = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(with_project(text, project))
            _checked(new, str(catalogue), before, project)
            shutil.copymode(path, new)
            if os.geteuid() == 0:
                owner = path.stat()
                os.chown(new, owner.st_uid, owner.st_gid)
            if path.read_text(encoding="utf-8") != text:
                raise ProjectError(f"{catalogue} was changed meanwhile. Run the command again.")
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise ProjectError(f"{catalogue} cannot be written: {error.strerror}.") from None


def wanted(name: str, group: str, title: str) -> Project:
    """Accept the words of a command line; raises ProjectError where they cannot be a project."""
    try:
        return Project(name=name, group=group, title=title)
    except ValidationError as error:
        fields = {str(detail["loc"][0]) for detail in error.errors()}
    if "name" in fields:
        raise ProjectError(
            f"{shown(name)} cannot be the name of a project: up to 64 letters, digits and _ . -,"
            " the first a letter or digit."
        )
    if "group" in fields:
        raise ProjectError(
            f"{shown(group)} cannot be the name of a group: up to 32 lower-case letters, digits"
            " and _ - ., the first a letter or _."
        )
    raise ProjectError("The title is too long: at most 120 characters.")


def create(
    project: Project, *, catalogue: Path, users: Path, environ: Mapping[str, str]
) -> list[str]:
    """Make a project, and say what was done and what is left to do.

    Raises
    ------
    SiteFileError, ProjectError, SettingError
    """
    people = load(users, Users)
    settings = LocalSettings.read(environ)
    add(catalogue, project)
    said = [f"{catalogue}: {project.name} is a project of the group {project.group}."]
    gid = people.groups.get(project.group)
    if gid is None:
        said.append(
            f"To do: in {users} give the group {project.group} a gid under groups, and add it to"
            " the groups of its members. Until then the hub does not start anew."
        )
        return said
    members = _members(people, project.group)
    if not members:
        said.append(f"To do: in {users} add {project.group} to the groups of its members.")
    try:
        if settings.data.joinpath("arc").is_dir():
            path = Provisioner(settings.data).project(project.name, gid)
            said.append(f"{path} is there.")
        else:
            said.append("Its directory is made at the next launch of a member.")
    except OSError as error:
        raise ProjectError(
            f"{error.filename} could not be made: {error.strerror}. The next launch of a"
            " member tries again."
        ) from None
    return said


# Showing


@dataclass(frozen=True, slots=True)
class Held:
    """What a directory holds."""

    files: int
    size: int
    more: bool = False
    """There is more than was counted."""

    @override
    def __str__(self) -> str:
        files = f"{self.files} {'file' if self.files == 1 else 'files'}"
        return f"{'more than ' if self.more else ''}{_size(self.size)} in {files}"


def _size(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "KB", "MB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GB"


def held(path: Path) -> Held:
    """Count what lies below a directory, following no link."""
    files = size = 0
    for parent, _, names in os.walk(path):
        for name in names:
            try:
                found = os.lstat(os.path.join(parent, name))  # noqa: PTH118 - many of them
            except OSError:
                continue
            files += 1
            size += found.st_blocks * 512
            if files >= _MOST_FILES:
                return Held(files, size, more=True)
    return Held(files, size)


def _members(users: Users, group: str) -> list[str]:
    return sorted(name for name, user in users.users.items() if group in user.groups)


def _table(rows: list[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def show(
    name: str | None, *, catalogue: Path, users: Path, environ: Mapping[str, str]
) -> list[str]:
    """Say what there is of a project, or of all.

    Raises
    ------
    SiteFileError, ProjectError, SettingError
    """
    policy, people = load(catalogue, SitePolicy), load(users, Users)
    projects = [each for each in policy.projects if name in (None, each.name)]
    if not projects:
        known = ", ".join(sorted(policy.project_names)) or "none"
        if name is None:
            return [f"{catalogue} has no projects."]
        raise ProjectError(f"There is no project {shown(name)}; there is {known}.")
    root = Provisioner(LocalSettings.read(environ).data).projects
    rows: list[tuple[str, ...]] = [("PROJECT", "GROUP", "GID", "MEMBERS", "DIRECTORY", "IN USE")]
    for project in projects:
        path = root / project.name
        try:
            there = path.is_dir()
        except OSError as error:
            raise ProjectError(f"{path} cannot be looked at: {error.strerror}.") from None
        rows.append(
            (
                project.name,
                project.group,
                str(people.groups.get(project.group, "none")),
                ", ".join(_members(people, project.group)) or "none",
                str(path) if there else "not made yet",
                str(held(path)) if there else "-",
            )
        )
    return list(_table(rows))
