"""Putting the stand-in where a real server would be, with the real page beside it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from canfar_spawner.local import environments
from tests.support.hub import ROOT

CHOSEN = "CANFAR_CARTA"
"""The variable by which a tester, or whoever runs a hub, names a server."""
PAGE = "carta-frontend"
"""The environment with CARTA's page."""
_PACKAGES = ("tests", "tests/support")
_PROGRAM = """#!{python}
import sys

sys.path.insert(0, {library!r})

from tests.support.carta_standin.server import main

sys.exit(main())
"""


def page() -> Path:
    """Give the directory of CARTA's page, as npm has it."""
    return environments.location(PAGE) / "node_modules" / PAGE / "build"


def _python() -> str:
    """Find a Python that every session sees."""
    for candidate in ("/usr/bin/python3", "/usr/local/bin/python3"):
        if os.access(candidate, os.X_OK):
            return candidate
    return sys.executable


def install(target: Path) -> Path:
    """Install the stand-in into a new directory, and give its program.

    Parameters
    ----------
    target : Path
        Whoever runs a session must be able to pass through it.
    """
    library = target / "lib"
    for package in _PACKAGES:
        (library / package).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / package / "__init__.py", library / package / "__init__.py")
    package = f"{_PACKAGES[-1]}/{Path(__file__).parent.name}"
    shutil.copytree(ROOT / package, library / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(page(), target / "share" / "carta" / "frontend")
    program = target / "bin" / "carta_backend"
    program.parent.mkdir()
    program.write_text(_PROGRAM.format(python=_python(), library=str(library)))
    program.chmod(0o755)
    return program
