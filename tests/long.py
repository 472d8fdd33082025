"""What takes minutes: ``make test-long PART=debian`` and others; see ``--help``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.support.cluster.cluster import tests_run_directory
from tests.support.debian import Debian, end
from tests.support.hub import ROOT, Hub, Visitor, free_port, wait_for

FIRST_WITHIN = 360.0
AGAIN_WITHIN = 20.0
_ON_CLUSTER: dict[str, tuple[str, ...]] = {
    # Every request of a hub's restart fails in its turn; minutes without an API server; every way
    # in which a watch or a create goes wrong.
    "faults": ("tests/cluster/test_faults.py",),
    # A session with sixty projects beside one with two.
    "projects": ("tests/cluster/test_storage.py",),
    # Sixty-four batch jobs whose hub and session manager are killed in the middle.
    "replicas": ("tests/cluster/test_manager.py",),
    # The builder of images as a site runs it, and the large images at work; what is contributed, in
    # a browser.
    "images": ("tests/cluster/test_images.py", "tests/cluster/test_contributed.py"),
    # What is the session manager's own and is shown on one machine each time: every command of the
    # public client, every way of sharing.
    "alike": ("tests/cluster/test_client.py", "tests/contract"),
    # The desktop's image in a pod, in both origin models.
    "desktop": ("tests/cluster/test_desktop.py",),
    # JupyterLab's panel in a pod, in a browser.
    "sidebar": ("tests/cluster/test_lab_panel.py", "tests/cluster/test_lab_storage.py"),
    # The test cluster itself is killed in every way.
    "harness": ("tests/cluster/test_harness.py",),
}
_IMAGES = ("hub", "notebook", "probe")
_LARGE = {
    "desktop": ("desktop", "desktop-casa", "gateway"),
    "images": ("casa", "desktop", "gateway", "marimo", "webterminal"),
}
"""What a part needs of images beyond these three; minutes to build."""
_HERE: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "core": (("tests/core",), {"HYPOTHESIS_PROFILE": "long"}),
    "kubernetes": (("tests/kubernetes", "-m", "long"), {}),
    # Sixty-four batch jobs of one machine whose hub and session manager are killed in the middle.
    "jobs": (("tests/system/test_jobs.py", "-m", "long"), {}),
    # A desktop of this machine in a browser, in both origin models.
    "windows": (("tests/browser/test_desktop.py", "-s"), {}),
    # The panel in the oldest JupyterLab that it is for.
    "panel": (("tests/browser/test_lab_oldest.py", "-m", "long"), {}),
    # States of pages that one machine does not come to, drawn from what a cluster said.
    # The panel's storage section in a browser, with 100,000 files.
    "storage": (("tests/browser/test_lab_storage.py", "-m", "long"), {}),
    # Files of gigabytes, with the session's server killed in the middle of each transfer.
    "transfers": (("tests/lab/test_transfers_long.py", "-m", "long"), {}),
    # How long folders of 100,000 files and headers of FITS files take.
    "scale": (("tests/lab/test_storage_scale.py", "tests/lab/test_fits.py", "-m", "long"), {}),
    # A hundred times fifty creates at a limit of three.
    "races": (("tests/system/test_races.py", "-m", "long", "-s"), {}),
    # Two hundred requests for each operation of the session manager, right and wrong.
    "api": (
        ("tests/system/test_api_document.py", "-k", "operation"),
        {"CANFAR_API_EXAMPLES": "200"},
    ),
}
"""What needs this machine alone: what pytest runs, and variables for it."""


def _until_login(hub: Hub, process: subprocess.Popen[bytes], within: float) -> float:
    started = time.monotonic()

    def answers() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"make run ended:\n{hub.log.read_text()[-4000:]}")
        try:
            return httpx.get(f"{hub.url}/hub/login", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    wait_for(answers, "the login page", seconds=5 * within)
    return time.monotonic() - started


def _launch_and_stop(visitor: Visitor) -> float:
    started = time.monotonic()
    answer = visitor.launch("firstone", container="astroml")
    assert answer.status_code in (201, 202), answer.text
    visitor.wait_ready("firstone")
    ready = time.monotonic() - started
    assert visitor.api("DELETE", "/users/ada/servers/firstone").status_code in (202, 204)
    wait_for(lambda: visitor.server("firstone") is None, "the session to end")
    return ready


def debian(suite: str, user: str, *, whole: bool) -> str:
    """Start the hub on a bare Debian with empty caches, twice, and use it; gives a table row."""
    system = Debian.make(suite)
    try:
        system.install()
        if user != "root":
            system.add_user(user)
        hub = Hub(Path(tempfile.mkdtemp(prefix="canfar-long-")) / "data", port=free_port())
        hub.data.parent.chmod(0o755)
        environ = {
            "CANFAR_HUB_PORT": str(hub.port),
            "CANFAR_HUB_PASSWORD": hub.password,
            "CANFAR_HUB_PREPARE": "none",
        }
        process = system.start(["make", "run"], hub.log, user, **environ)
        first = _until_login(hub, process, FIRST_WITHIN)
        ready = _launch_and_stop(hub.sign_in("ada"))
        end(process)
        process = system.start(["make", "run"], hub.log, user, **environ)
        again = _until_login(hub, process, AGAIN_WITHIN)
        ready_again = _launch_and_stop(hub.sign_in("ada"))
        end(process)
        kept = next(
            line for line in hub.log.read_text().splitlines() if "Sessions are kept apart" in line
        )
        assert first <= FIRST_WITHIN, f"the first login page took {first:.0f} s"
        assert again <= AGAIN_WITHIN, f"the second login page took {again:.0f} s"
        row = (
            f"| {suite} | {user} | {first:.0f} | {again:.1f} | {ready:.1f} | {ready_again:.1f} |"
            f" {kept.partition('apart by ')[2].partition('.')[0]} |"
        )
        if whole:
            log = ROOT / "build" / f"make-test-{suite}.log"
            log.parent.mkdir(exist_ok=True)
            started = time.monotonic()
            process = system.start(["make", "test"], log, user)
            status = process.wait(timeout=3600)
            tail = log.read_text().splitlines()[-1]
            row += f" make test: {tail}, {time.monotonic() - started:.0f} s |"
            assert status == 0, f"make test failed on {suite}; see {log}"
        return row
    finally:
        system.remove()


def on_cluster(part: str) -> int:
    """Run the long tests of a part, on the cluster of tests."""
    os.environ.setdefault("CANFAR_CLUSTER_DIR", str(tests_run_directory()))
    cluster = [sys.executable, "-m", "tests.support.cluster"]
    where = [*_ON_CLUSTER[part], "-m", "long", "-s"]
    work = [*cluster, "exec", "--", sys.executable, "-m", "pytest", "-q", *where]
    try:
        for command in (
            [*cluster, "up"],
            [*cluster[:2], "tests.support.cluster.images", *_IMAGES, *_LARGE.get(part, ())],
            work,
        ):
            status = subprocess.run(command, cwd=ROOT, check=False).returncode
            if status:
                return status
    finally:
        subprocess.run([*cluster, "down"], cwd=ROOT, check=False)
    return 0


def main() -> int:
    """Run one part and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["debian", "debian-test", *_HERE, *_ON_CLUSTER])
    parser.add_argument("--suite", default="bookworm", choices=["bookworm", "trixie"])
    parser.add_argument("--user", default="root")
    arguments = parser.parse_args()
    if arguments.part in _HERE:
        where, variables = _HERE[arguments.part]
        command = [sys.executable, "-m", "pytest", "-q", *where]
        environ = {**os.environ, **variables}
        return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode
    if arguments.part in _ON_CLUSTER:
        return on_cluster(arguments.part)
    if os.geteuid() != 0:
        print("This part makes systems and needs root.", file=sys.stderr)
        return 2
    print("| suite | user | first login page (s) | second | launch (s) | again | isolation |")
    print("|---|---|---|---|---|---|---|")
    print(debian(arguments.suite, arguments.user, whole=arguments.part == "debian-test"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
