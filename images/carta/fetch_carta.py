# ruff: noqa: INP001 - a program beside the image, not a package
"""CARTA as its makers publish it, for this machine: ``python3 images/carta/fetch_carta.py DIRECTORY``.

Standard library only. Puts ``bin/carta_backend`` into a new directory. ``CANFAR_CARTA_URL`` names
another place to get it from.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

VERSION = "5.1.0"
URL = "https://github.com/CARTAvis/carta/releases/download/v{version}/carta.AppImage.{machine}.tgz"
_MACHINES = ("x86_64", "aarch64")
_WITHIN = 60.0
_UNPACKED = "squashfs-root"
"""Where an AppImage unpacks itself."""
_PROGRAM = """#!/bin/sh
# Unpacked, an AppImage needs nothing of the machine; it starts the server.
exec "$(dirname "$(readlink -f "$0")")/../squashfs-root/AppRun" "$@"
"""


class FetchError(Exception):
    """CARTA could not be had; says why and what to do."""


def _download(url: str, target: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_WITHIN) as answer, target.open("wb") as file:  # noqa: S310 - the scheme is the site's to choose
            shutil.copyfileobj(answer, file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise FetchError(
            f"{url} cannot be reached ({reason}). Install CARTA on this machine, or say where its"
            " carta_backend is by CANFAR_CARTA; CANFAR_CARTA_URL names another place to get it from."
        ) from None


def _unpack(archive: Path, directory: Path) -> None:
    """Unpack the image that is in an archive, and all that is in the image."""
    image = directory / "carta.AppImage"
    try:
        with tarfile.open(archive) as content:
            # That alone, whatever else an archive may want to put somewhere.
            found = [each for each in content if each.isfile() and each.name.endswith(".AppImage")]
            packed = content.extractfile(found[0]) if found else None
            if packed is None:
                raise FetchError("What was fetched has no AppImage of CARTA in it.")
            with packed, image.open("wb") as file:
                shutil.copyfileobj(packed, file)
    except (OSError, tarfile.TarError) as error:
        raise FetchError(f"What was fetched is no archive of CARTA: {error}") from None
    image.chmod(0o755)
    done = subprocess.run(
        [str(image), "--appimage-extract"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 or not (directory / _UNPACKED / "AppRun").exists():
        raise FetchError(f"CARTA's AppImage does not unpack: {done.stderr.strip()[-500:]}")


def fetch(target: Path, url: str) -> None:
    """Get CARTA and put it into a new directory.

    Parameters
    ----------
    target : Path
    url : str

    Raises
    ------
    FetchError
        It is out of reach, or not what it should be. Nothing is left.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        directory = Path(scratch)
        _download(url, directory / "carta.tgz")
        _unpack(directory / "carta.tgz", directory)
        target.mkdir()
        (directory / _UNPACKED).rename(target / _UNPACKED)
    program = target / "bin" / "carta_backend"
    program.parent.mkdir()
    program.write_text(_PROGRAM)
    program.chmod(0o755)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args(argv).directory
    machine = platform.machine()
    chosen = os.environ.get("CANFAR_CARTA_URL", "")
    if not chosen and machine not in _MACHINES:
        sys.stderr.write(f"CARTA is not published for {machine}.\n")
        return 1
    try:
        fetch(directory, chosen or URL.format(version=VERSION, machine=machine))
    except FetchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
