"""The hub for one machine with sign-in at an OpenID provider instead of the demo accounts."""

import os
import sys
from pathlib import Path

from canfar_spawner.hub.platform import SETTING

c = get_config()  # noqa: F821 - JupyterHub's

site = Path(__file__).resolve().parents[2] / "hub_config"
load_subconfig(str(site / "jupyterhub_config.py"))  # noqa: F821 - likewise
sys.path.insert(0, str(site / "auth"))
import oidc  # noqa: E402 - found where the line above says

platform = c.JupyterHub.tornado_settings[SETTING]
identities = oidc.configure(
    c, data=platform.data, log=platform.log, users=Path(os.environ["CANFAR_HUB_USERS"])
)
platform.identities = identities(lambda: platform.policy)
