"""Run the tests in stages: what is quick and tells most comes first.

``python tests/stages.py`` runs all of them and prints a table of times and skips at the end;
naming stages runs those. Two things run beside each other, since most of them wait; what a stage
wrote is printed when it is over, unless nothing ran beside it. ``CANFAR_LANES=1`` runs one thing
after the other. ``CANFAR_REQUIRE=browser,isolation,…`` turns skips for want of these into failures.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.cluster.cluster import (  # noqa: E402 - found from here on
    second_run_directory,
    tests_run_directory,
)
from tests.support.cluster.programs import CLUSTER, ClusterError, prepare  # noqa: E402

BIN = Path(sys.executable).parent
LANES = int(os.environ.get("CANFAR_LANES") or min(2, os.cpu_count() or 1))


Command = tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """Some commands that belong together."""

    title: str
    lanes: tuple[tuple[Command, ...], ...]
    """What may run beside each other: commands that are run in their order."""
    default: bool = True
    needs_programs: bool = False
    """Needs the programs of Kubernetes, which are built on the first run."""
    needs_root: bool = False
    alone: bool = False
    """No other stage runs beside it."""


def _in_order(*commands: Command) -> tuple[tuple[Command, ...], ...]:
    return (commands,)


def _beside(*commands: Command) -> tuple[tuple[Command, ...], ...]:
    return tuple((command,) for command in commands)


def _pytest(*where: str) -> Command:
    return (str(BIN / "python"), "-m", "pytest", "-q", *where)


IMAGES = ("hub", "gateway", "notebook", "astroml", "probe", "hostile", "webfs")


def _modules(where: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{where}/test_{name}.py" for name in names)


def _parts(where: str, *parts: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Cut a directory of tests into what is named and all the rest."""
    named = [name for part in parts for name in _modules(where, *part)]
    rest = (where, *(f"--ignore={name}" for name in named))
    return [*(_modules(where, *part) for part in parts), rest]


SYSTEM = _parts(
    "tests/system",
    # They share a hub.
    ("api_abuse", "api_document", "bad_input", "client_config", "cross_site", "sessions_api"),
    ("client", "expiry", "jobs", "manager_faults", "races"),
)
CLUSTERS = _parts("tests/cluster", ("admission", "faults", "harness", "images", "manager", "rbac"))
_QUICK = ("-m", "not long and not browser")
_QUICK_BROWSER = ("-m", "browser and not long")
"""Apart: the browser's driver keeps an event loop running for as long as it lives."""


def _on_own_cluster(run: Path, *tests: Command) -> tuple[Command, ...]:
    """Start a cluster, run tests in it and end it."""
    # Not the cluster of `make cluster`: these tests end the sessions of theirs.
    at = ("env", f"CANFAR_CLUSTER_DIR={run}")

    def cluster(*words: str) -> Command:
        return (*at, str(BIN / "python"), "-m", "tests.support.cluster", *words)

    return (
        cluster("up"),
        (*at, str(BIN / "python"), "-m", "tests.support.cluster.images", *IMAGES),
        *(cluster("exec", "--", *_pytest(*each)) for each in tests),
        cluster("down"),
    )


STAGES = {
    "lint": Stage(
        "format, lint, types, import rules",
        _in_order(
            (str(BIN / "ruff"), "check", "."),
            (str(BIN / "ruff"), "format", "--check", "."),
            (str(BIN / "lint-imports"),),
            (str(BIN / "mypy"),),
            (str(BIN / "python"), "-m", "canfar_spawner.local.build", "web", "lint:check"),
            (str(BIN / "python"), "-m", "canfar_spawner.local.build", "web", "typecheck"),
        ),
    ),
    "core": Stage(
        "core, site files, pages", _in_order(_pytest("tests/core", "tests/site", "tests/portal"))
    ),
    "house": Stage("documents and house rules", _in_order(_pytest("tests/house"))),
    "hub": Stage("handlers and roles on a hub in process", _in_order(_pytest("tests/hub"))),
    "manager": Stage("the session manager's parts", _in_order(_pytest("tests/manager"))),
    "lab": Stage(
        "the platform's part inside a session",
        _in_order(
            (str(BIN / "python"), "-m", "canfar_spawner.local.build", "web", "test"),
            _pytest("tests/lab", "-m", "not long"),
        ),
    ),
    "local": Stage("supervisor, sandbox, environments", _in_order(_pytest("tests/local"))),
    "gateway": Stage("the gateway in front of applications", _in_order(_pytest("tests/gateway"))),
    "system": Stage(
        "the real hub as a process",
        _beside(*(_pytest(*part, "-m", "not long") for part in (*SYSTEM, ("tests/contract",)))),
    ),
    "browser": Stage(
        "the real hub in Chromium", _in_order(_pytest("tests/browser", "-m", "not long"))
    ),
    "kubernetes": Stage(
        "manifests, and the client beside a real API server",
        _in_order(_pytest("tests/manifests", "tests/kubernetes", "-m", "not long")),
        needs_programs=True,
    ),
    "cluster": Stage(
        "the real hub on a real Kubernetes",
        (
            _on_own_cluster(
                tests_run_directory(), (*CLUSTERS[0], *_QUICK), ("tests/contract", *_QUICK)
            ),
            _on_own_cluster(
                second_run_directory(), (*CLUSTERS[1], *_QUICK), ("tests/cluster", *_QUICK_BROWSER)
            ),
        ),
        needs_programs=True,
        needs_root=True,
        alone=True,
    ),
    "docs": Stage(
        "screenshots for the documents",
        _in_order(_pytest("tests/browser", "--keep-screenshots")),
        default=False,
    ),
}


@dataclass
class Outcome:
    """How a stage went, or some commands of it."""

    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    broken: bool = False
    skips: list[str] = field(default_factory=list)
    began: float = 0.0
    wrote: str = ""
    """What was not printed while it ran."""

    @property
    def ended(self) -> float:
        """When it was over."""
        return self.began + self.seconds


def _unmet(stage: Stage) -> str:
    """Say why a stage cannot run here; empty where it can."""
    if stage.needs_root and os.geteuid() != 0:
        return "needs root: namespaces of its own, a container runtime; run it with sudo"
    if not stage.needs_programs:
        return ""
    try:
        with _PREPARING:
            prepare([*CLUSTER, "helm"], lambda line: print(line, flush=True))
    except ClusterError as error:
        return str(error)
    return ""


_PREPARING = threading.Lock()


def _run(name: str, commands: tuple[Command, ...], *, live: bool) -> Outcome:
    outcome = Outcome(began=time.monotonic())

    def write(text: str) -> None:
        if live:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            outcome.wrote += text

    if not live:
        print(f"    {name} has begun", flush=True)
    unmet = _unmet(STAGES[name])
    if unmet:
        required = "cluster" in os.environ.get("CANFAR_REQUIRE", "").split(",")
        outcome.broken, outcome.skipped = required, int(not required)
        outcome.skips.append(f"SKIPPED the stage {name}: {unmet}")
        return outcome
    for command in commands:
        words = " ".join(Path(word).name if "/bin/" in word else word for word in command)
        write(f"--- {words}\n")
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            write(line)
            if line.startswith("SKIPPED"):
                outcome.skips.append(line.strip())
            last = line if re.search(r"\d+ (passed|failed|skipped|error)", line) else last
        for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last):
            if word == "error":
                outcome.failed += int(count)
            else:
                setattr(outcome, word, getattr(outcome, word) + int(count))
        outcome.broken = outcome.broken or process.wait() != 0
    outcome.seconds = time.monotonic() - outcome.began
    return outcome


def _together(parts: list[Outcome]) -> Outcome:
    """Make one outcome of those of a stage's commands."""
    began = min(part.began for part in parts)
    return Outcome(
        seconds=max(part.ended for part in parts) - began,
        passed=sum(part.passed for part in parts),
        failed=sum(part.failed for part in parts),
        skipped=sum(part.skipped for part in parts),
        broken=any(part.broken for part in parts),
        skips=[skip for part in parts for skip in part.skips],
        began=began,
        wrote="".join(part.wrote for part in parts),
    )


def _run_beside(names: list[str]) -> dict[str, Outcome]:
    """Run stages in as many lanes as there are, and print what each wrote when it is over."""
    work = [(name, lane) for name in names for lane in STAGES[name].lanes]
    live = len(work) == 1 or LANES == 1
    outcomes = {}
    with ThreadPoolExecutor(LANES) as pool:
        parts = [(name, pool.submit(_run, name, lane, live=live)) for name, lane in work]
        try:
            for name, own in groupby(parts, key=lambda part: part[0]):
                outcomes[name] = _together([future.result() for _, future in own])
                sys.stdout.write(outcomes[name].wrote)
                sys.stdout.flush()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes


def main(names: list[str]) -> int:
    """Run the named stages, or all that run by default."""
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        print(f"No stage {unknown[0]}; there are {', '.join(STAGES)}.", file=sys.stderr)
        return 2
    os.environ.setdefault("CANFAR_HUB_PREPARE", "none")
    chosen = names or [name for name, stage in STAGES.items() if stage.default]
    outcomes: dict[str, Outcome] = {}
    for alone, some in groupby(chosen, key=lambda name: STAGES[name].alone):
        if alone:
            outcomes |= {name: _run_beside([name])[name] for name in some}
        else:
            outcomes |= _run_beside(list(some))
    print("\nstage      seconds  passed  failed  skipped")
    for name, outcome in outcomes.items():
        mark = "  FAILED" if outcome.broken else ""
        print(
            f"{name:<10} {outcome.seconds:7.1f} {outcome.passed:7d} {outcome.failed:7d}"
            f" {outcome.skipped:8d}{mark}   {STAGES[name].title}"
        )
    for outcome in outcomes.values():
        for skip in outcome.skips:
            print(skip)
    passed = sum(outcome.passed for outcome in outcomes.values())
    failed = sum(outcome.failed for outcome in outcomes.values())
    skipped = sum(outcome.skipped for outcome in outcomes.values())
    broken = any(outcome.broken for outcome in outcomes.values())
    if broken and not failed:
        failed = 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
