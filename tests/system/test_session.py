"""What a session is from the inside: its storage, its environment, its user, its end."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from canfar_spawner.local import environments
from canfar_spawner.local import run as supervisor
from tests.support.hub import ROOT, Hub, Visitor, wait_for
from tests.support.lab import Lab, launch_lab

pytestmark = pytest.mark.environment("notebook")

NOTEBOOK = {"container": "notebook"}
FIXED = {**NOTEBOOK, "mode": "fixed", "cores": 2, "memory": 4}
IN_VIEW = Path("/arc")
OPENED = "/arc/projects/demo/README.md"
# Each is long enough to be found in a database, were it there.
VARIABLES = {
    "QUOTES": 'it\'s "quoted" and `ticked`',
    "LINES": "first line\nsecond line\r\n\tthird line",
    "DOLLARS": "$(HOME) ${HOME} $HOME $$ \\$HOME",
    "BRACES": "{x} {username} {{ user }} {0} {unbalanced",
    "EQUALS": "key=value==more=",
    "PERCENTS": "%(x)s %d %% 100%",
    "SPACES": "  leading and trailing  ",
    "BACKSLASHES": "\\n is no newline\\",
    "MICRO": "17 µJy ± 3 ✨",
    "EMPTY": "",
    "MPLCONFIGDIR": "/tmp/matplotlib of my own",
}
FACTS = """
import grp, json, os, pwd, shutil
umask = os.umask(0)
os.umask(umask)
environ = {name: value for name, value in os.environ.items() if "TOKEN" not in name}
print(json.dumps({
    "environ": environ,
    "uid": [os.getuid(), os.geteuid()],
    "gid": [os.getgid(), os.getegid()],
    "groups": sorted(os.getgroups()),
    "umask": umask,
    "user": pwd.getpwuid(os.getuid()).pw_name,
    "python": shutil.which("python"),
    "scratch": os.listdir(os.environ["CANFAR_SCRATCH"]),
    "projects": sorted(os.listdir(os.environ["CANFAR_PROJECTS_DIR"])),
}))
"""


@pytest.fixture(scope="module")
def lab(hub: Hub, ada: Visitor) -> Lab:
    """Ada's session; its scratch and home are as they were at its start."""
    sample = hub.data / OPENED.removeprefix("/")
    if not sample.exists():
        sample.write_text("# Sample\n")
    return launch_lab(ada, "adasess1", **FIXED, open=OPENED, env=VARIABLES)


@pytest.fixture(scope="module")
def lab_of_ben(ben: Visitor) -> Lab:
    """Ben's session, flexible, with a thread count of his own."""
    return launch_lab(ben, "bensess1", **NOTEBOOK, env={"OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def facts(lab: Lab) -> dict[str, Any]:
    """What a kernel of ada's session finds."""
    return dict(json.loads(lab.run(FACTS)))


@pytest.fixture(scope="module")
def arc(hub: Hub) -> Path:
    """Where sessions see arc: the host's own path, unless they have a view of their own."""
    sandboxed = "Sessions are kept apart by bubblewrap" in hub.log.read_text()
    return IN_VIEW if sandboxed else hub.data / "arc"


@pytest.fixture
def as_root(need: Callable[[str, bool, str], None]) -> None:
    need("isolation", os.geteuid() == 0, "run these tests as root to cover other users")


def users() -> dict[str, Any]:
    """Give the users file of the demo accounts."""
    return dict(yaml.safe_load((ROOT / "hub_config" / "users.yaml").read_text()))


def mode(path: Path) -> int:
    """Give the permissions of a path."""
    return stat.S_IMODE(path.stat().st_mode)


def test_the_environment_tells_where_things_are(
    hub: Hub, lab: Lab, facts: dict[str, Any], arc: Path
) -> None:
    on_host = str(hub.data / "scratch" / lab.launch.name)
    environ = facts["environ"]
    assert environ["HOME"] == environ["CANFAR_HOME"] == str(arc / "home" / "ada")
    assert environ["CANFAR_PROJECTS_DIR"] == str(arc / "projects")
    assert environ["CANFAR_SCRATCH"] == ("/scratch" if arc == IN_VIEW else on_host)
    assert environ["CANFAR_PROJECTS"] == "demo survey"
    assert environ["CANFAR_SESSION_ID"] == "adasess1"
    assert environ["CANFAR_SESSION_KIND"] == "notebook"
    assert environ["CANFAR_SESSION_MODE"] == "fixed"
    assert environ["CANFAR_LAUNCH_ID"] == lab.launch.name
    assert (environ["CANFAR_CORES"], environ["CANFAR_MEMORY_GB"]) == ("2", "4")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", environ["CANFAR_SESSION_ENDS"])
    assert environ["USER"] == environ["LOGNAME"] == "ada"
    if arc == IN_VIEW:
        assert facts["projects"] == ["demo", "survey"]
        assert facts["user"] == "ada"


def test_thread_counts_are_the_fixed_cores(facts: dict[str, Any], lab_of_ben: Lab) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        assert facts["environ"][name] == "2"
    told = lab_of_ben.run("import os; print(os.environ['OMP_NUM_THREADS'])")
    assert told == "1\n", "what the owner sets counts"


def test_variables_arrive_to_the_byte(hub: Hub, lab: Lab, facts: dict[str, Any]) -> None:
    del lab
    assert {name: facts["environ"][name] for name in VARIABLES} == VARIABLES
    stored = hub.rows("select user_options, state from spawners where name = 'adasess1'")[0]
    assert '"QUOTES"' in stored[0], "names are kept"
    for path in (hub.data / "hub").iterdir():
        if path.is_file():
            content = path.read_bytes()
            for value in filter(None, VARIABLES.values()):
                written = json.dumps(value)[1:-1].encode()
                assert value.encode() not in content, path
                assert written not in content, path


def test_the_python_of_the_environment_is_found(facts: dict[str, Any]) -> None:
    assert facts["python"] == str(environments.location("notebook") / "bin" / "python")


def test_the_file_browser_shows_home_projects_and_scratch(lab: Lab) -> None:
    root = lab.call("GET", "api/contents/").json()
    assert {(each["name"], each["type"]) for each in root["content"]} == {
        ("home", "directory"),
        ("projects", "directory"),
        ("scratch", "directory"),
    }
    projects = lab.call("GET", "api/contents/projects").json()
    assert {"demo", "survey"} <= {each["name"] for each in projects["content"]}
    assert lab.call("GET", "api/contents/home").status_code == 200
    assert lab.call("GET", "api/contents/scratch").status_code == 200


def test_what_is_written_by_the_browser_is_where_it_seems(hub: Hub, lab: Lab) -> None:
    for directory in ("projects/survey", "scratch"):
        body = {"type": "file", "format": "text", "content": "x"}
        made = lab.call("PUT", f"api/contents/{directory}/made.txt", json=body)
        assert made.status_code == 201, made.text
    assert (hub.data / "arc" / "projects" / "survey" / "made.txt").read_text() == "x"
    assert (hub.data / "scratch" / lab.launch.name / "made.txt").read_text() == "x"
    # At the root there is nowhere to keep anything.
    body = {"type": "file", "format": "text", "content": "x"}
    assert lab.call("PUT", "api/contents/lost.txt", json=body).status_code >= 400


def test_jupyterlab_begins_at_home(lab: Lab) -> None:
    page = lab.call("GET", "lab", follow_redirects=True)
    assert page.status_code == 200
    found = re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', page.text, re.DOTALL)
    assert found
    assert json.loads(found[1])["preferredPath"].strip("/") == "home"


def test_open_leads_to_the_file(lab: Lab) -> None:
    answer = lab.call("GET", "")
    assert answer.status_code == 302
    leads_to = httpx.URL(answer.headers["Location"]).path
    assert leads_to == "/user/ada/adasess1/lab/tree/projects/demo/README.md"
    assert lab.call("GET", "api/contents/projects/demo/README.md").status_code == 200


@pytest.mark.usefixtures("as_root")
def test_the_session_runs_as_its_owner(facts: dict[str, Any]) -> None:
    known = users()
    groups = [known["groups"][name] for name in known["users"]["ada"]["groups"]]
    uid = known["users"]["ada"]["uid"]
    assert facts["uid"] == facts["gid"] == [uid, uid]
    assert set(facts["groups"]) - {uid} == set(groups)
    assert facts["umask"] == 0o002


@pytest.mark.usefixtures("as_root", "lab", "lab_of_ben")
def test_homes_are_closed_and_projects_are_their_groups(hub: Hub) -> None:
    known = users()
    for name in ("ada", "ben"):
        home = hub.data / "arc" / "home" / name
        assert mode(home) == 0o700
        assert home.stat().st_uid == home.stat().st_gid == known["users"][name]["uid"]
    for name in ("demo", "survey"):
        project = hub.data / "arc" / "projects" / name
        assert mode(project) == 0o2770
        assert (project.stat().st_uid, project.stat().st_gid) == (0, known["groups"][name])


@pytest.mark.usefixtures("as_root")
def test_ada_and_ben_share_a_project(hub: Hub, lab: Lab, lab_of_ben: Lab) -> None:
    where = 'os.path.join(os.environ["CANFAR_PROJECTS_DIR"], "survey", "shared")'
    lab.run(
        f'import os; os.mkdir({where}); open(os.path.join({where}, "notes"), "w").write("ada\\n")'
    )
    lab_of_ben.run(f'import os; open(os.path.join({where}, "notes"), "a").write("ben\\n")')
    lab_of_ben.run(f'open(os.path.join({where}, "of-ben"), "w").close()')
    assert lab.run(f'print(open(os.path.join({where}, "notes")).read())').split() == ["ada", "ben"]
    shared = hub.data / "arc" / "projects" / "survey" / "shared"
    gid = users()["groups"]["survey"]
    assert mode(shared) == 0o2775
    for path in (shared, shared / "notes", shared / "of-ben"):
        assert path.stat().st_gid == gid
        assert mode(path) & stat.S_IWGRP


@pytest.mark.usefixtures("as_root")
def test_ben_sees_neither_adas_home_nor_her_other_project(
    hub: Hub, lab: Lab, lab_of_ben: Lab, arc: Path
) -> None:
    del lab
    code = """
import json, os
def readable(path):
    try:
        return os.listdir(path) is not None
    except OSError:
        return False
print(json.dumps([readable(path) for path in PATHS]))
"""
    paths = [arc / "home" / "ada", arc / "projects" / "demo", arc / "projects" / "survey"]
    paths += [hub.data / "arc" / "home" / "ada", hub.data / "hub", hub.data / "run"]
    told = lab_of_ben.run(f"PATHS = {[str(path) for path in paths]}\n{code}")
    assert json.loads(told) == [False, False, True, False, False, False]


def test_nothing_of_the_session_lies_in_the_home(hub: Hub, lab: Lab, facts: dict[str, Any]) -> None:
    lab.call("GET", "lab", follow_redirects=True)
    assert facts["scratch"] == [], "scratch was empty at the start"
    home = hub.data / "arc" / "home" / "ada"
    # What is a person's own, from session to session: the profile and history of IPython, and
    # the place where she would install kernels, which Jupyter makes empty.
    assert {path.name for path in home.iterdir()} <= {".ipython", ".local"}
    assert not [path for path in (home / ".local").rglob("*") if not path.is_dir()]
    private = facts["environ"]["JUPYTER_RUNTIME_DIR"]
    assert not Path(private).is_relative_to(facts["environ"]["HOME"])
    session = lab.launch / "session"
    assert list((session / "runtime").glob("jpserver-*.json"))
    assert list((session / "runtime").glob("kernel-*.json"))
    assert (session / "signatures.secret").exists() or not list(home.rglob("notebook_secret"))


def test_the_log_is_its_owners_alone(lab: Lab) -> None:
    log = lab.launch / "session.log"
    assert mode(log) == 0o600
    assert "Jupyter Server" in log.read_text()
    assert mode(lab.launch) == 0o711
    assert mode(lab.launch / "session") == 0o700
    if os.geteuid() == 0:
        assert log.stat().st_uid == users()["users"]["ada"]["uid"]


@pytest.fixture
def full_home(hub: Hub) -> Iterator[Path]:
    """The administrator's home, without room for one more byte or file."""
    home = hub.data / "arc" / "home" / "admin"
    home.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("only root can make a home that is full")
    options = "size=64k,nr_inodes=2"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(home)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    try:
        with contextlib.suppress(OSError), (home / "zeros").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield home
    finally:
        subprocess.run(["umount", "--lazy", str(home)], check=True)


def test_a_full_home_still_starts(admin: Visitor, full_home: Path) -> None:
    session = launch_lab(admin, "fullhom1", **NOTEBOOK)
    assert session.call("GET", "lab", follow_redirects=True).status_code == 200
    code = "open(__import__('os').path.expanduser('~/more'), 'w').write('x' * 9)"
    told = session.run(f"try:\n    {code}\nexcept OSError as error:\n    print(error.errno)")
    assert told.strip() == "28", "the home is full indeed, and a kernel runs"
    assert [path.name for path in full_home.iterdir()] == ["zeros"]
    admin.stop("fullhom1")


def test_a_program_that_ends_at_once_is_told(hub: Hub, ben: Visitor, lab_of_ben: Lab) -> None:
    del lab_of_ben  # one of his three
    for session in ("broken01", "broken02", "broken03"):
        ben.launch(session, container="broken")

    def failed() -> bool:
        servers = [ben.server(f"broken0{number}") for number in (1, 2, 3)]
        return all(server is None or not server["pending"] for server in servers)

    wait_for(failed, "the starts to have failed")
    page = ben.client.get("/hub/spawn-pending/ben/broken01")
    text = html.unescape(page.text)
    assert "The session's program ended with an error." in text
    assert "Change and try again" in text
    assert "Traceback" not in text
    assert not {"broken01", "broken02", "broken03"} & set(hub.launches())
    home = html.unescape(ben.client.get("/hub/home").text)
    assert "1 of 3 in use" in home, "what failed counts for nothing"
    assert not list((hub.data / "scratch").glob("broken0*"))
    assert ben.launch("probeok1", container="probe").status_code in (201, 202)
    ben.wait_ready("probeok1")
    ben.stop("probeok1")


def test_stopping_wipes_scratch_and_keeps_the_rest(hub: Hub, ada: Visitor, lab: Lab) -> None:
    lab.run(
        """
import os, sys
open(os.path.expanduser("~/result.csv"), "w").write("kept")
top = os.path.join(os.environ["CANFAR_SCRATCH"], "closed")
for depth in range(5):
    os.makedirs(top)
    open(os.path.join(top, "data"), "w").write("x" * 1000)
    top = os.path.join(top, "deeper")
while (top := os.path.dirname(top)) != os.environ["CANFAR_SCRATCH"]:
    os.chmod(top, 0)
"""
    )
    scratch = hub.data / "scratch" / lab.launch.name
    assert mode(scratch / "closed") == 0
    ada.stop("adasess1")
    assert not scratch.exists()
    assert not (lab.launch / "session").exists()
    assert not (lab.launch / "spec.json").exists()
    assert (hub.data / "arc" / "home" / "ada" / "result.csv").read_text() == "kept"
    state = supervisor.read_state(lab.launch)
    assert state is not None
    assert (state.reason, state.unwiped) == ("stopped", 0)
