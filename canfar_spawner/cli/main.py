"""``canfar-hub``: start the hub of this machine, check a site's files, print schemas."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from canfar_spawner.core.client_setup import CONFIG_PATH, DAYS
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.view import typescript
from canfar_spawner.local.where import catalogue_file, users_file
from canfar_spawner.site.files import SettingError, SiteFileError, load
from canfar_spawner.site.policy import policy_schema
from canfar_spawner.site.users_file import Users, missing_groups

_BROKEN = 1
_MISUSED = 2


def check(catalogue: Path, users: Path) -> int:
    """Check a site's files and print every mistake; gives the exit status."""
    problems = 0
    policy = people = None
    try:
        policy = load(catalogue, SitePolicy)
    except SiteFileError as error:
        print(error)
        problems += len(error.problems)
    try:
        people = load(users, Users)
    except SiteFileError as error:
        print(error)
        problems += len(error.problems)
    if policy is not None and people is not None:
        for problem in missing_groups(people, policy.projects):
            print(f"{users}: {problem}")
            problems += 1
        for container in policy.catalogue.containers:
            for group in container.groups:
                if group not in people.groups:
                    print(
                        f"{users}: groups: only {group} may start {container.name}; nobody is in it"
                    )
                    problems += 1
    if problems:
        print(f"{problems} {'mistake' if problems == 1 else 'mistakes'}")
        return _BROKEN
    if policy is not None:
        count = len(policy.catalogue.containers)
        print(f"{catalogue} and {users} are right: {count} containers, policy {policy.digest}")
    return 0


def _sessions(*, on_cluster: bool) -> int:
    """Run the session manager until it is told to end."""
    from canfar_spawner.manager import journal
    from canfar_spawner.manager.service import ManagerError

    try:
        journal.begin(os.environ)
        if on_cluster:
            from canfar_spawner.kubernetes import sessions as cluster

            catalogue = Path(os.environ.get("CANFAR_HUB_CATALOGUE") or "catalogue.yaml")
            return cluster.run(os.environ, catalogue=catalogue)
        from canfar_spawner.local import sessions

        return sessions.run(
            os.environ, catalogue=catalogue_file(os.environ), users=users_file(os.environ)
        )
    except (journal.LogForm, SettingError, SiteFileError, ManagerError) as error:
        print(error, file=sys.stderr)
        return _MISUSED


def _add_client_config(commands: Any) -> None:
    client = commands.add_parser(
        "client-config",
        help="make a token for the canfar client, and print what sets the client up",
        description="The hub is asked with a token of yours from JUPYTERHUB_API_TOKEN or standard"
        " input, or, on the hub's own machine, with the password of the demo accounts.",
    )
    client.add_argument("--hub", default="", metavar="URL", help="by default this machine's")
    client.add_argument("--user", default="", metavar="NAME", help="whose token it is to be")
    client.add_argument("--days", type=int, default=DAYS, metavar="N", help="how long it lasts")
    client.add_argument(
        "--write", action="store_true", help=f"write {CONFIG_PATH}; one that is there is kept"
    )


def _add_project(commands: Any) -> None:
    actions = commands.add_parser("project", help="make and show projects").add_subparsers(
        dest="action", required=True
    )
    create = actions.add_parser("create", help="add a project to catalogue.yaml")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--group", required=True, metavar="G", help="whose members may use it")
    create.add_argument("--title", default="", metavar="TEXT")
    show = actions.add_parser("show", help="say what there is of a project, or of all")
    show.add_argument("name", metavar="NAME", nargs="?")
    for each in (create, show):
        _add_site_files(each)


def _add_reconcile(commands: Any) -> None:
    comparing = commands.add_parser(
        "reconcile",
        help="compare records, back end and hub",
        description="The session manager does it every 30 seconds and mends what it finds; this"
        " prints what there is, and changes nothing. The status is 1 where something differs.",
    )
    comparing.add_argument("--check", action="store_true", required=True, help="only print it")
    comparing.add_argument("--hub", default="", metavar="URL", help="by default this machine's")


def _add_site_files(parser: argparse.ArgumentParser) -> None:
    for name, find in (("catalogue", catalogue_file), ("users", users_file)):
        parser.add_argument(
            f"--{name}",
            type=Path,
            default=find(os.environ),
            metavar="FILE",
            help="by default %(default)s",
        )


def _client_config(arguments: argparse.Namespace) -> int:
    """Make a token for the client and print what goes with it."""
    from canfar_spawner.cli.client_config import ClientConfigError, client_config

    try:
        return client_config(
            hub_url=arguments.hub,
            user=arguments.user,
            days=arguments.days,
            to_file=arguments.write,
            environ=os.environ,
        )
    except (ClientConfigError, SettingError) as error:
        print(error, file=sys.stderr)
        return _MISUSED


def _project(arguments: argparse.Namespace) -> int:
    """Make or show projects."""
    from canfar_spawner.cli import projects

    catalogue, users = arguments.catalogue, arguments.users
    try:
        if arguments.action == "create":
            lines = projects.create(
                projects.wanted(arguments.name, arguments.group, arguments.title),
                catalogue=catalogue,
                users=users,
                environ=os.environ,
            )
        else:
            lines = projects.show(
                arguments.name, catalogue=catalogue, users=users, environ=os.environ
            )
    except (projects.ProjectError, SettingError, SiteFileError) as error:
        print(error, file=sys.stderr)
        return _MISUSED
    print("\n".join(lines))
    return 0


def _reconcile(hub_url: str) -> int:
    """Print what records, back end and hub do not agree on."""
    from canfar_spawner.cli.reconcile import ReconcileError, reconcile

    try:
        lines = reconcile(hub_url=hub_url, environ=os.environ)
    except (ReconcileError, SettingError) as error:
        print(error, file=sys.stderr)
        return _MISUSED
    print("\n".join(lines) or "Records, back end and hub agree.")
    return _BROKEN if lines else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="canfar-hub", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="start the hub of this machine in the foreground")
    commands.add_parser("stop", help="stop the hub of this machine and end its sessions")
    manager = commands.add_parser("sessions", help="run the session manager in the foreground")
    manager.add_argument("--cluster", action="store_true", help="of a cluster, not this machine")
    checking = commands.add_parser("check", help="check a site's files")
    _add_site_files(checking)
    _add_client_config(commands)
    _add_project(commands)
    _add_reconcile(commands)
    commands.add_parser("schema", help="print the JSON schema of catalogue.yaml")
    commands.add_parser("types", help="print the TypeScript types of a session")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    arguments = _parser().parse_args(argv)
    match arguments.command:
        case "check":
            return check(arguments.catalogue, arguments.users)
        case "schema":
            print(json.dumps(policy_schema(), indent=2))
        case "types":
            print(typescript(), end="")
        case "client-config":
            return _client_config(arguments)
        case "project":
            return _project(arguments)
        case "reconcile":
            return _reconcile(arguments.hub)
        case "sessions":
            return _sessions(on_cluster=arguments.cluster)
        case "run" | "stop":
            from canfar_spawner.local import serve

            try:
                action = serve.run if arguments.command == "run" else serve.stop
                return action(os.environ)
            except (SettingError, SiteFileError) as error:
                print(error, file=sys.stderr)
                return _MISUSED
        case _:
            raise AssertionError(arguments.command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
