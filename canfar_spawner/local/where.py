"""Where a site's configuration is: for ``canfar-hub run``, and for the commands that look at it.

Everything is absolute: hub and session manager run in another directory than whoever wrote these.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_CONFIG = Path("hub_config") / "jupyterhub_config.py"


def config_file(environ: Mapping[str, str]) -> Path:
    """Say where JupyterHub's configuration is."""
    return Path(environ.get("CANFAR_HUB_CONFIG") or _ROOT / _CONFIG).resolve()


def _site_file(environ: Mapping[str, str], variable: str, name: str) -> Path:
    return Path(environ.get(variable) or config_file(environ).parent / name).resolve()


def catalogue_file(environ: Mapping[str, str]) -> Path:
    """Say where the site's catalogue is."""
    return _site_file(environ, "CANFAR_HUB_CATALOGUE", "catalogue.yaml")


def users_file(environ: Mapping[str, str]) -> Path:
    """Say where the site's users are."""
    return _site_file(environ, "CANFAR_HUB_USERS", "users.yaml")
