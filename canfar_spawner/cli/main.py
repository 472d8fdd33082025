"""``canfar-hub``: start the hub of this machine, check a site's files, print schemas."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.core.view import typescript
from canfar_spawner.site.files import SiteFileError, load
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="canfar-hub", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="start the hub of this machine in the foreground")
    commands.add_parser("stop", help="stop the hub of this machine and end its sessions")
    checking = commands.add_parser("check", help="check a site's files")
    checking.add_argument("--catalogue", type=Path, default=Path("hub_config/catalogue.yaml"))
    checking.add_argument("--users", type=Path, default=Path("hub_config/users.yaml"))
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
        case "run" | "stop":
            from canfar_spawner.local import serve
            from canfar_spawner.local.settings import SettingError

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
