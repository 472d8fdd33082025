"""What ``canfar-hub`` cannot do is one sentence and the status 2, and never tells a secret."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from canfar_spawner.cli import client_config, reconcile
from canfar_spawner.cli.main import main
from canfar_spawner.local import serve
from canfar_spawner.local.settings import LocalSettings, prepare_data, sessions_service
from tests.site.test_cli import CATALOGUE, USERS

SECRET = "Tok3nOfAda"
COMMANDS = (("client-config",), ("reconcile", "--check"))
_NOBODY = 65534
_LOADED = (client_config, reconcile, serve)
"""Imported before files are closed to this process."""


@pytest.fixture(autouse=True)
def _given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", SECRET)
    for name in ("CATALOGUE", "USERS", "CONFIG", "PASSWORD", "DATA"):
        monkeypatch.delenv(f"CANFAR_HUB_{name}", raising=False)


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a directory that everybody may pass through."""
    path = Path(tempfile.mkdtemp(prefix="canfar-cli-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextlib.contextmanager
def closed(path: Path) -> Iterator[None]:
    """Be somebody to whom a directory is closed."""
    mode = path.stat().st_mode
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        path.chmod(mode)


@contextlib.contextmanager
def speaking(words: bytes) -> Iterator[int]:
    """Listen on a port, and say something else than HTTP to whoever comes."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    visitor, _ = server.accept()
                    with visitor:
                        visitor.recv(65536)
                        visitor.sendall(words)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that has to be refused, and give what it says."""
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert SECRET not in said.err
    return said.err


@pytest.mark.parametrize(
    "address",
    [
        "http://[x",
        "http://127.0.0.1:80a",
        "http://127.0.0.1:0",
        "http://127.0.0.1:70000",
        "http://a b",
        "http://a\tb",
        "http://a\x00b",
        "http://",
        "ftp://hub.example.org",
        "hub.example.org",
        f"https://hub.example.org/?token={SECRET}",
        f"https://hub.example.org/#{SECRET}",
        f"http://[x?token={SECRET}",
    ],
)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_an_address_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...], address: str
) -> None:
    assert "is not the address of a hub; give one such as" in refused(
        capsys, *command, "--hub", address
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_password_in_an_address_is_refused_unseen(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    said = refused(capsys, *command, "--hub", f"https://ada:{SECRET}@hub.example.org")
    assert said.startswith("The address of a hub has no name and no password in it;")


@pytest.mark.parametrize(
    "words",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b""],
    ids=["ssh", "nothing", "a list", "the end"],
)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_what_is_no_hub_is_told(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...], words: bytes
) -> None:
    with speaking(words) as port:
        refused(capsys, *command, "--hub", f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize("token", [f"{SECRET}\nx", f"{SECRET} x", f"{SECRET}\x07", f"{SECRET}€"])
def test_what_cannot_be_a_token_is_refused_unseen(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    token: str,
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", token)
    said = refused(capsys, *command, "--hub", "http://127.0.0.1:9")
    assert said == "What is in JUPYTERHUB_API_TOKEN is not a token.\n"


def test_no_standard_input_is_as_good_as_an_empty_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN")
    monkeypatch.setattr("sys.stdin", None)
    said = refused(capsys, "client-config", "--hub", "http://127.0.0.1:9")
    assert said.startswith("There is nothing to ask the hub with.")


def test_standard_input_that_is_no_text_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN")
    given = io.TextIOWrapper(io.BytesIO(SECRET.encode() + b"\xff\n"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", given)
    said = refused(capsys, "client-config", "--hub", "http://127.0.0.1:9")
    assert said == "Standard input cannot be read.\n"


def test_a_blank_password_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN")
    monkeypatch.setenv("CANFAR_HUB_DATA", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "password").write_text("\n")
    said = refused(capsys, "client-config", "--user", "ada")
    assert said.startswith("There is nothing to ask the hub with.")


def hub_in(place: Path) -> LocalSettings:
    """Leave the files of a hub."""
    settings = LocalSettings.read({"CANFAR_HUB_DATA": str(place / "data")})
    prepare_data(settings)
    sessions_service(settings)
    return settings


@pytest.mark.parametrize("what", ["", "hub"])
def test_a_directory_that_is_closed_is_told_by_reconcile(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: Path, what: str
) -> None:
    monkeypatch.setenv("CANFAR_HUB_DATA", str(hub_in(place).data))
    with closed(place / "data" / what):
        said = refused(capsys, "reconcile", "--check")
    assert said.startswith(f"{place / 'data' / 'hub'} cannot be looked into: Permission denied.")


@pytest.mark.parametrize("what", ["", "hub", "run"])
def test_a_hub_of_somebody_else_is_not_stopped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: Path, what: str
) -> None:
    monkeypatch.setenv("CANFAR_HUB_DATA", str(hub_in(place).data))
    if what == "run" and os.geteuid() == 0:
        # Its pid files are to be read, as a hub without root has them.
        os.chown(place / "data" / "hub", _NOBODY, -1)
    with closed(place / "data" / what):
        said = refused(capsys, "stop")
    assert "is closed to you: run this as whoever started the hub, such as with sudo." in said


def test_projects_below_a_closed_directory_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    """Their files are read before, here from a place of their own."""
    for path in (CATALOGUE, USERS):
        shutil.copy(path, place)
        monkeypatch.setenv(f"CANFAR_HUB_{path.stem.upper()}", str(place / path.name))
    monkeypatch.setenv("CANFAR_HUB_DATA", str(hub_in(place).data))
    with closed(place / "data"):
        said = refused(capsys, "project", "show", "demo")
    assert "cannot be looked at: Permission denied." in said


@pytest.mark.parametrize("variables", ["of the files", "of the configuration"])
def test_every_command_takes_the_files_that_the_hub_takes(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variables: str,
) -> None:
    (tmp_path / "site").mkdir()
    content = CATALOGUE.read_text().replace("{name: demo,", "{name: first,")
    assert content != CATALOGUE.read_text()
    (tmp_path / "site" / "catalogue.yaml").write_text(content)
    (tmp_path / "site" / "users.yaml").write_text(USERS.read_text().replace("  ben:", "  bea:"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANFAR_HUB_DATA", "data")
    if variables == "of the files":
        monkeypatch.setenv("CANFAR_HUB_CATALOGUE", "site/catalogue.yaml")
        monkeypatch.setenv("CANFAR_HUB_USERS", "site/users.yaml")
    else:
        monkeypatch.setenv("CANFAR_HUB_CONFIG", "site/jupyterhub_config.py")
    site = tmp_path / "site"
    assert main(["check"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{site / 'catalogue.yaml'} and {site / 'users.yaml'} are right: ")
    assert main(["project", "show"]) == 0
    told = capsys.readouterr().out
    assert "\nfirst " in told
    assert "bea" in told
    assert main(["project", "create", "m31", "--group", "demo"]) == 0
    assert "name: m31" in (site / "catalogue.yaml").read_text()
