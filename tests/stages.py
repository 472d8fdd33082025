"""Run the tests in stages: what is quick and tells most comes first.

``python tests/stages.py`` runs all of them and prints a table of times and skips at the end;
naming stages runs those. ``CANFAR_REQUIRE=browser,isolation,…`` turns skips for want of these
into failures.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.cluster.cluster import tests_run_directory  # noqa: E402 - found from here on
from tests.support.cluster.programs import CLUSTER, ClusterError, prepare  # noqa: E402

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Stage:
    """Some commands that belong together."""

    title: str
    commands: tuple[tuple[str, ...], ...]
    default: bool = True
    needs_programs: bool = False
    """Needs the programs of Kubernetes, which are built on the first run."""
    needs_root: bool = False


def _pytest(*where: str) -> tuple[str, ...]:
    return (str(BIN / "python"), "-m", "pytest", "-q", *where)


def _cluster(*words: str) -> tuple[str, ...]:
    return (str(BIN / "python"), "-m", "tests.support.cluster", *words)


IMAGES = ("hub", "notebook", "astroml", "probe", "hostile")


ON_CLUSTER = ("tests/cluster", "tests/contract")

STAGES = {
    "lint": Stage(
        "format, lint, types, import rules",
        (
            (str(BIN / "ruff"), "check", "."),
            (str(BIN / "ruff"), "format", "--check", "."),
            (str(BIN / "lint-imports"),),
            (str(BIN / "mypy"),),
            (str(BIN / "python"), "-m", "canfar_spawner.local.build", "web", "lint:check"),
            (str(BIN / "python"), "-m", "canfar_spawner.local.build", "web", "typecheck"),
        ),
    ),
    "core": Stage(
        "core, site files, pages", (_pytest("tests/core", "tests/site", "tests/portal"),)
    ),
    "house": Stage("documents and house rules", (_pytest("tests/house"),)),
    "hub": Stage("handlers and roles on a hub in process", (_pytest("tests/hub"),)),
    "local": Stage("supervisor, sandbox, environments", (_pytest("tests/local"),)),
    "system": Stage("the real hub as a process", (_pytest("tests/system", "tests/contract"),)),
    "browser": Stage("the real hub in Chromium", (_pytest("tests/browser"),)),
    "kubernetes": Stage(
        "manifests, and the client beside a real API server",
        (_pytest("tests/manifests", "tests/kubernetes", "-m", "not long"),),
        needs_programs=True,
    ),
    "cluster": Stage(
        "the real hub on a real Kubernetes",
        (
            _cluster("up"),
            (str(BIN / "python"), "-m", "tests.support.cluster.images", *IMAGES),
            # Apart: the browser's driver keeps an event loop running for as long as it lives.
            _cluster("exec", "--", *_pytest(*ON_CLUSTER, "-m", "not long and not browser")),
            _cluster("exec", "--", *_pytest("tests/cluster", "-m", "browser and not long")),
            _cluster("down"),
        ),
        needs_programs=True,
        needs_root=True,
    ),
    "docs": Stage(
        "screenshots for the documents",
        (_pytest("tests/browser", "--keep-screenshots"),),
        default=False,
    ),
}


@dataclass
class Outcome:
    """How a stage went."""

    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    broken: bool = False
    skips: list[str] = field(default_factory=list)


def _unmet(stage: Stage) -> str:
    """Say why a stage cannot run here; empty where it can."""
    if stage.needs_root and os.geteuid() != 0:
        return "needs root: namespaces of its own, a container runtime; run it with sudo"
    if not stage.needs_programs:
        return ""
    try:
        prepare([*CLUSTER, "helm"], lambda line: print(line, flush=True))
    except ClusterError as error:
        return str(error)
    return ""


def _run(name: str, stage: Stage) -> Outcome:
    outcome = Outcome()
    started = time.monotonic()
    unmet = _unmet(stage)
    if unmet:
        required = "cluster" in os.environ.get("CANFAR_REQUIRE", "").split(",")
        outcome.broken, outcome.skipped = required, int(not required)
        outcome.skips.append(f"SKIPPED the stage {name}: {unmet}")
        return outcome
    for command in stage.commands:
        print(
            f"--- {' '.join(Path(word).name if '/' in word else word for word in command)}",
            flush=True,
        )
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if line.startswith("SKIPPED"):
                outcome.skips.append(line.strip())
            last = line if re.search(r"\d+ (passed|failed|skipped|error)", line) else last
        for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last):
            if word == "error":
                outcome.failed += int(count)
            else:
                setattr(outcome, word, getattr(outcome, word) + int(count))
        outcome.broken = outcome.broken or process.wait() != 0
    outcome.seconds = time.monotonic() - started
    return outcome


def main(names: list[str]) -> int:
    """Run the named stages, or all that run by default."""
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        print(f"No stage {unknown[0]}; there are {', '.join(STAGES)}.", file=sys.stderr)
        return 2
    os.environ.setdefault("CANFAR_HUB_PREPARE", "none")
    # Not the cluster of `make cluster`: these tests end the sessions of theirs.
    os.environ.setdefault("CANFAR_CLUSTER_DIR", str(tests_run_directory()))
    chosen = names or [name for name, stage in STAGES.items() if stage.default]
    outcomes = {name: _run(name, STAGES[name]) for name in chosen}
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
