"""``canfar-hub run`` and ``stop`` as a person uses them: what they say, and what they leave."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from canfar_spawner.cli.main import main
from canfar_spawner.local import environments
from canfar_spawner.local import run as supervisor
from canfar_spawner.local.settings import port_is_free
from tests.support.hub import ROOT, Hub, free_port, wait_for

COMMAND = Path(sys.executable).parent / "canfar-hub"
SESSION = "goeson01"


def environment(**changes: str) -> dict[str, str]:
    """Give an environment with nothing of a hub but what is named."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CANFAR_HUB_") or name == "CANFAR_HUB_CACHE"
    }
    return {**kept, "CANFAR_HUB_PREPARE": "none", **changes}


def canfar_hub(word: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run ``canfar-hub`` to its end."""
    return subprocess.run(
        [str(COMMAND), word],
        env=environment(**changes),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def proxies(port: int) -> list[int]:
    """Give the proxies that were started for a port."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if str(port).encode() in words and any(
                    word.endswith(b"configurable-http-proxy") for word in words
                ):
                    found.append(int(entry.name))
    return found


def nothing_listens(port: int) -> bool:
    """Say whether hub and proxy are gone."""
    with contextlib.closing(socket.socket()) as trial:
        refused = trial.connect_ex(("127.0.0.1", port)) != 0
    return refused and port_is_free(port) and not proxies(port)


def mode(path: Path) -> int:
    """Give the permissions of a path."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Give a directory to run in; the demo project looks as if its sample were made."""
    path = Path(tempfile.mkdtemp(prefix="canfar-hub-"))
    path.chmod(0o755)
    (path / "var" / "arc" / "projects" / "demo").mkdir(parents=True)
    (path / "var" / "arc" / "projects" / "demo" / "README.md").write_text("")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def first_words(place: Path, port: int, probe_catalogue: Path) -> str:
    """Start a hub with nothing set but its port, end it by Ctrl-C, and give what it has said."""
    log = place / "first.log"
    changes = {"CANFAR_HUB_PORT": str(port), "CANFAR_HUB_CATALOGUE": str(probe_catalogue)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(COMMAND), "run"],
            env=environment(**changes),
            cwd=place,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/hub/health").status_code == 200
        return False

    try:
        wait_for(answers, "the hub to answer")
        assert proxies(port)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        status = process.wait(timeout=60)
    assert status == 0, log.read_text()
    return log.read_text()


@pytest.fixture(scope="module")
def hub(place: Path, port: int, probe_catalogue: Path, first_words: str) -> Iterator[Hub]:
    """A hub over the same directory, with the password that the first has made."""
    del first_words
    password = (place / "var" / "hub" / "password").read_text().strip()
    environ = {"CANFAR_HUB_CATALOGUE": str(probe_catalogue), "CANFAR_HUB_PASSWORD": ""}
    made = Hub(place / "var", environ=environ, port=port, password=password)
    try:
        made.start()
        yield made
    finally:
        made.clear()


def test_the_first_start_says_what_one_needs(place: Path, port: int, first_words: str) -> None:
    password = (place / "var" / "hub" / "password").read_text().strip()
    assert len(password) >= 8
    assert f"CANFAR Hub: http://127.0.0.1:{port}\n" in first_words
    assert f"Sign in as ada, ben, admin; the password is {password}\n" in first_words
    assert f"Data: {place / 'var'}." in first_words
    assert "Traceback" not in first_words


def test_the_first_start_closes_what_is_its_own(place: Path, first_words: str) -> None:
    del first_words
    var = place / "var"
    assert mode(var / "hub") == 0o700
    assert mode(var / "hub" / "password") == 0o600
    assert mode(var / "hub" / "cookie_secret") == 0o600
    assert mode(var / "run") == 0o711
    assert {path.name for path in var.iterdir()} == {"arc", "hub", "run", "scratch"}


def test_ctrl_c_ends_hub_and_proxy(place: Path, port: int, first_words: str) -> None:
    assert nothing_listens(port)
    assert "The hub has ended. 0 sessions still running; `make stop` ends them." in first_words
    assert not (place / "var" / "hub" / "hub.pid").exists()


def test_the_password_is_kept(hub: Hub) -> None:
    ada = hub.sign_in("ada")
    assert ada.launch(SESSION, container="probe").status_code in (201, 202)
    ada.wait_ready(SESSION)
    assert hub.log.read_text().count(f"the password is {hub.password}\n") == 1
    assert mode(hub.data / "hub" / "password") == 0o600


def test_a_busy_port_is_one_line(hub: Hub, tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = canfar_hub("run", CANFAR_HUB_PORT=str(hub.port), CANFAR_HUB_DATA=str(data))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"Port {hub.port} is in use; choose another with CANFAR_HUB_PORT.\n"
    assert not data.exists(), "nothing was begun"


def test_two_hubs_never_share_a_directory(hub: Hub) -> None:
    other = free_port()
    pid = hub.pid()
    done = canfar_hub("run", CANFAR_HUB_PORT=str(other), CANFAR_HUB_DATA=str(hub.data))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "already" in done.stderr
    assert "CANFAR_HUB_DATA" in done.stderr
    assert hub.pid() == pid
    assert httpx.get(f"{hub.url}/hub/health").status_code == 200


def test_sigterm_leaves_the_sessions(hub: Hub) -> None:
    launch = hub.launches()[SESSION]
    before = supervisor.read_state(launch)
    assert before is not None
    hub.end()
    assert hub.process is not None
    assert hub.process.returncode == 0
    assert "The hub has ended. 1 session still running; `make stop` ends them." in (
        hub.log.read_text()
    )
    assert nothing_listens(hub.port)
    assert supervisor.is_alive(launch)
    answer = httpx.get(f"http://127.0.0.1:{before.port}/")
    assert answer.json()["session"] == SESSION, "its program goes on"


def test_a_pid_of_long_ago_harms_nobody(hub: Hub) -> None:
    """After a crash of the machine the files name pids that others have by now."""
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        for name in ("hub.pid", "proxy.pid"):
            (hub.data / "hub" / name).write_text(str(bystander.pid))
        hub.start()
        assert bystander.poll() is None
        hub.end()
        (hub.data / "hub" / "hub.pid").write_text(str(bystander.pid))
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_password_of_ones_own_takes_over(hub: Hub) -> None:
    before = hub.launches()[SESSION]
    hub.password = "a password of my own"
    hub.environ["CANFAR_HUB_PASSWORD"] = hub.password
    hub.start()
    hub.sign_in("ada").wait_ready(SESSION)
    assert hub.launches()[SESSION] == before
    assert mode(hub.data / "hub" / "password") == 0o600


def test_a_killed_hub_is_followed_by_one_that_finds_the_sessions(hub: Hub) -> None:
    before = supervisor.read_state(hub.launches()[SESSION])
    hub.kill()
    assert hub.process is not None
    assert hub.process.returncode != 0
    assert supervisor.is_alive(hub.launches()[SESSION])
    hub.start()
    hub.sign_in("ada").wait_ready(SESSION)
    after = supervisor.read_state(hub.launches()[SESSION])
    assert before is not None
    assert after is not None
    assert after.supervisor == before.supervisor
    assert after.program == before.program
    assert len(proxies(hub.port)) == 1


def run_that_dies(tmp_path: Path, data: Path, catalogue: str, port: int, left: str = "") -> None:
    """Run a hub that dies as soon as a session manager, another than the left one, is there."""
    config = tmp_path / "dies.py"
    config.write_text(
        "import pathlib, time\n"
        "pid = pathlib.Path('sessions.pid')\n"
        f"while not pid.exists() or pid.read_text() in ('', {left!r}):\n"
        "    time.sleep(0.05)\n"
        "raise SystemExit(3)\n"
    )
    log = tmp_path / "dies.log"
    # Into a file: a manager that is left would keep a pipe open.
    with log.open("wb") as output:
        done = subprocess.run(
            [str(COMMAND), "run"],
            env=environment(
                CANFAR_HUB_CONFIG=str(config),
                CANFAR_HUB_CATALOGUE=catalogue,
                CANFAR_HUB_USERS=str(ROOT / "hub_config" / "users.yaml"),
                CANFAR_HUB_DATA=str(data),
                CANFAR_HUB_PORT=str(port),
            ),
            stdout=output,
            stderr=output,
            timeout=120,
            check=False,
        )
    assert done.returncode not in (0, 2), log.read_text()


def test_a_hub_that_dies_at_its_start_leaves_no_manager(
    tmp_path: Path, probe_catalogue: Path
) -> None:
    demo = tmp_path / "data" / "arc" / "projects" / "demo"
    demo.mkdir(parents=True)
    (demo / "README.md").touch()
    run_that_dies(tmp_path, tmp_path / "data", str(probe_catalogue), free_port())
    assert (tmp_path / "data" / "hub" / "sessions.pid").exists()
    left = Hub(tmp_path / "data")
    try:
        assert left.manager_pid() is None
    finally:
        left.clear()


def test_a_manager_that_was_left_is_followed_by_one_though_the_hub_dies(
    hub: Hub, tmp_path: Path, probe_catalogue: Path
) -> None:
    """Jobs and lifetimes count on it."""
    hub.kill()
    before = hub.manager_pid()
    run_that_dies(tmp_path, hub.data, str(probe_catalogue), hub.port, left=str(before))
    after = hub.manager_pid()
    assert before is not None
    assert after is not None
    assert after != before
    hub.start()


def test_stop_ends_hub_and_sessions(hub: Hub) -> None:
    launch = hub.launches()[SESSION]
    done = canfar_hub("stop", CANFAR_HUB_DATA=str(hub.data))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "The hub has ended.\n1 session ended.\n"
    assert nothing_listens(hub.port), "it can be started again at once"
    assert not supervisor.is_alive(launch)
    assert not list((hub.data / "scratch").iterdir())
    assert (hub.data / "arc" / "home" / "ada").is_dir()
    assert hub.process is not None
    assert hub.process.wait(timeout=60) == 0


def test_stop_with_nothing_running(hub: Hub, tmp_path: Path) -> None:
    for data in (hub.data, tmp_path / "none"):
        done = canfar_hub("stop", CANFAR_HUB_DATA=str(data))
        assert (done.returncode, done.stdout, done.stderr) == (0, "0 sessions ended.\n", "")
    assert not (tmp_path / "none").exists()


def test_stop_after_the_hub_was_killed(hub: Hub) -> None:
    hub.start()
    hub.kill()
    assert proxies(hub.port) or nothing_listens(hub.port)
    done = canfar_hub("stop", CANFAR_HUB_DATA=str(hub.data))
    assert done.returncode == 0, done.stderr
    assert nothing_listens(hub.port), "the proxy was left, and is ended as well"


def test_paths_are_relative_to_where_the_hub_is_started(
    place: Path, port: int, probe_catalogue: Path
) -> None:
    """It runs in another directory, and so does the session manager."""
    site = place / "site"
    site.mkdir()
    shutil.copy(ROOT / "hub_config" / "jupyterhub_config.py", site / "our_config.py")
    shutil.copy(ROOT / "hub_config" / "users.yaml", site / "people.yaml")
    shutil.copy(probe_catalogue, site / "offers.yaml")
    paths = {
        "CANFAR_HUB_CONFIG": site / "our_config.py",
        "CANFAR_HUB_CATALOGUE": site / "offers.yaml",
        "CANFAR_HUB_USERS": site / "people.yaml",
        "CANFAR_HUB_CACHE": environments.cache(),
    }
    relative = {name: os.path.relpath(path, place) for name, path in paths.items()}
    hub = Hub(place / "var", port=port)
    hub.password = (place / "var" / "hub" / "password").read_text().strip()
    environ = environment(CANFAR_HUB_PORT=str(port), **relative)
    try:
        hub.begin([str(COMMAND), "run"], environ, cwd=place)
        ada = hub.sign_in("ada")
        assert ada.launch("relative", container="probe").status_code in (201, 202)
        ada.wait_ready("relative")
    finally:
        hub.clear()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CANFAR_HUB_PORT", "http"),
        ("CANFAR_HUB_PORT", "0"),
        ("CANFAR_HUB_PORT", "65536"),
        ("CANFAR_HUB_PORT", "-1"),
        ("CANFAR_HUB_PORT", "80.0"),
        ("CANFAR_HUB_PORT", "٨٠٠٠"),
        ("CANFAR_HUB_PORT", "9" * 5000),
        ("CANFAR_HUB_HOST", "0.0.0.0"),  # noqa: S104 - refused
        ("CANFAR_HUB_HOST", "hub.example.org"),
        ("CANFAR_HUB_HOST", "hub.localhost:80"),
        ("CANFAR_HUB_HOST", ".localhost"),
        ("CANFAR_HUB_PREPARE", "some"),
        ("CANFAR_HUB_PASSWORD", "short"),
        ("CANFAR_HUB_PASSWORD", " " * 12),
    ],
)
@pytest.mark.parametrize("word", ["run", "stop"])
def test_a_bad_setting_is_one_line(
    word: str,
    variable: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("CANFAR_HUB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv(variable, value)
    assert main([word]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"{variable} must ")
    assert variable != "CANFAR_HUB_PASSWORD" or value not in said.err
    assert not (tmp_path / "data").exists()


def test_a_directory_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    done = canfar_hub(
        "run", CANFAR_HUB_PORT=str(free_port()), CANFAR_HUB_DATA=str(tmp_path / "file")
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("CANFAR_HUB_DATA cannot be used: ")


def test_a_broken_catalogue_is_one_line_a_mistake(tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "hub_config" / "catalogue.yaml").read_text())
    content["limits"]["interactiv"] = content["limits"].pop("interactive")
    content["catalogue"]["containers"][1]["kinds"] = ["notebok"]
    catalogue = tmp_path / "catalogue.yaml"
    catalogue.write_text(yaml.safe_dump(content))
    done = canfar_hub(
        "run",
        CANFAR_HUB_CATALOGUE=str(catalogue),
        CANFAR_HUB_DATA=str(tmp_path / "data"),
        CANFAR_HUB_PORT=str(free_port()),
    )
    assert (done.returncode, done.stdout) == (2, "")
    lines = sorted(done.stderr.splitlines())
    assert [line.startswith(f"{catalogue}: ") for line in lines] == [True, True]
    assert "catalogue.containers[1].kinds[0]: " in lines[0]
    assert "did you mean notebook" in lines[0]
    assert "limits.interactiv: " in lines[1]
    assert not (tmp_path / "data").exists()


def test_a_project_whose_group_nobody_knows_is_one_line(tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "hub_config" / "catalogue.yaml").read_text())
    content["projects"].append({"name": "lost", "title": "Lost", "group": "nobodys"})
    catalogue = tmp_path / "catalogue.yaml"
    catalogue.write_text(yaml.safe_dump(content))
    done = canfar_hub(
        "run",
        CANFAR_HUB_CATALOGUE=str(catalogue),
        CANFAR_HUB_DATA=str(tmp_path / "data"),
        CANFAR_HUB_PORT=str(free_port()),
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "the project lost needs the group nobodys" in done.stderr


def test_make_clean_leaves_the_data_alone(tmp_path: Path) -> None:
    """In a checkout of its own, since it removes built pages."""
    project, cache = tmp_path / "project", tmp_path / "cache"
    local = project / "canfar_spawner" / "local"
    local.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", project)
    for name in (
        "__init__",
        "local/__init__",
        "local/build",
        "local/recipes",
        "local/environments",
    ):
        shutil.copy(
            ROOT / "canfar_spawner" / f"{name}.py", project / "canfar_spawner" / f"{name}.py"
        )
    kept = [
        project / "var" / "arc" / "home" / "ada" / "paper.tex",
        project / "var" / "arc" / "projects" / "demo" / "data.fits",
        project / "var" / "hub" / "password",
    ]
    gone = [
        cache / "envs" / "hub-0123456789ab" / "bin" / "python",
        cache / "status" / "casa.json",
        cache / "logs" / "casa.log",
        cache / "downloads" / "wheel",
        project / "canfar_spawner" / "portal" / "static" / "portal.js",
    ]
    for path in (*kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    done = subprocess.run(
        ["make", "clean", f"PYTHON={sys.executable}"],
        cwd=project,
        env=environment(CANFAR_HUB_CACHE=str(cache)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(path.exists() for path in kept)
    assert not [path for path in gone if path.exists()]
