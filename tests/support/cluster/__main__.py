"""``python3 -m tests.support.cluster``: start, end and enter the test cluster."""

from __future__ import annotations

import argparse
import os
import sys

from tests.support.cluster import lifecycle
from tests.support.cluster.cluster import Cluster, run_directory
from tests.support.cluster.programs import ClusterError, program


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.support.cluster",
        description="A real Kubernetes on this machine, in namespaces of its own.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="build what is missing, start it, wait until its node is ready")
    commands.add_parser("down", help="end it and all that runs in it")
    commands.add_parser("status", help="say how it is")
    enter = commands.add_parser("exec", help="run a command in its network: exec -- COMMAND …")
    enter.add_argument("argv", nargs=argparse.REMAINDER)
    kubectl = commands.add_parser("kubectl", help="run kubectl with all rights", add_help=False)
    kubectl.add_argument("argv", nargs=argparse.REMAINDER)
    return parser


def main() -> int:
    """Do what the command line says."""
    options, rest = _parser().parse_known_args()
    argv = [*getattr(options, "argv", ()), *rest]
    try:
        match options.command:
            case "up":
                lifecycle.up(run_directory(), _say)
            case "down":
                lifecycle.down(run_directory(), _say)
            case "status":
                _say(lifecycle.status(run_directory()))
            case _:
                cluster = Cluster.load()
                words = argv[1:] if argv[:1] == ["--"] else argv
                if options.command == "kubectl":
                    words = [str(program("kubectl")), *words]
                if not words:
                    _say("exec needs a command")
                    return 2
                entering = cluster.enter(words)
                os.execvpe(entering[0], entering, cluster.environ())  # noqa: S606 - no shell
    except ClusterError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
