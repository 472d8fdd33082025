"""CARTA is fetched from where it is published, where that can be reached."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from canfar_spawner.local import build, environments
from tests.support.hub import ROOT, free_port

SCRIPT = ROOT / "images" / "carta" / "fetch_carta.py"
# What an AppImage does when it is told to unpack itself.
IMAGE = b"""#!/bin/sh
[ "$1" = --appimage-extract ] || exit 2
mkdir squashfs-root
printf '#!/bin/sh\\necho "started with $*"\\n' > squashfs-root/AppRun
chmod 755 squashfs-root/AppRun
"""


def fetch(target: Path, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(SCRIPT), str(target)],
        env={"CANFAR_CARTA_URL": url, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def archive(path: Path, **files: bytes) -> str:
    with tarfile.open(path, "w:gz") as content:
        for name, data in files.items():
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(data)
            content.addfile(member, io.BytesIO(data))
    return path.as_uri()


def test_it_is_unpacked_and_started_by_the_name_of_its_server(tmp_path: Path) -> None:
    target = tmp_path / "envs" / "carta"
    done = fetch(target, archive(tmp_path / "carta.tgz", carta_AppImage=IMAGE))
    assert done.returncode == 0, done.stderr
    started = subprocess.run(
        [str(target / "bin" / "carta_backend"), "--port", "3002"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert started.stdout == "started with --port 3002\n"
    assert [path.name for path in target.parent.iterdir()] == ["carta"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"readme_txt": b"nothing"}, "no AppImage of CARTA in it"),
        ({"carta_AppImage": b"#!/bin/sh\nexit 1\n"}, "does not unpack"),
        ({}, "no archive of CARTA"),
    ],
)
def test_something_else_is_not_taken(tmp_path: Path, files: dict[str, bytes], told: str) -> None:
    if files:
        url = archive(tmp_path / "carta.tgz", **files)
    else:
        (tmp_path / "page.html").write_text("not found")
        url = (tmp_path / "page.html").as_uri()
    done = fetch(tmp_path / "envs" / "carta", url)
    assert done.returncode == 1
    assert told in done.stderr
    assert not list((tmp_path / "envs").iterdir()), "nothing is left"


def test_out_of_reach_says_what_to_do_and_the_others_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The project's own building, of environments that are made without a network.
    address = f"http://127.0.0.1:{free_port()}/carta.tgz"
    monkeypatch.setenv("CANFAR_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CANFAR_CARTA_URL", address)
    tools = environments.location("tools")
    tools.mkdir(parents=True)
    (tools / ".complete").touch()
    with pytest.raises(build.BuildError) as refused:
        build.prepare(["carta", "desktop"], report=lambda _: None)
    told = str(refused.value)
    assert told.startswith("CARTA could not be built.")
    assert f"{address} cannot be reached (Connection refused)" in told.replace("[Errno 111] ", "")
    assert "CANFAR_CARTA" in told
    assert environments.is_ready("desktop")
    status = environments.status("carta")
    assert status.state == "failed"
    assert "CANFAR_CARTA" in status.error
    assert "/" not in status.error
