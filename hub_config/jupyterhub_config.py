"""The hub for one machine: `make run` starts it, and this file is yours to edit.

The variables CANFAR_HUB_PORT, CANFAR_HUB_HOST, CANFAR_HUB_DATA and CANFAR_HUB_PASSWORD override
what matters most; the README lists them. What the site offers is in catalogue.yaml, who may use
it in users.yaml. Both are read again when they change; who may sign in at all is set here, at the
start of the hub.
"""

import logging
import os
from pathlib import Path

from canfar_spawner.local import environments
from canfar_spawner.local.settings import (
    LocalSettings,
    demo_password,
    inner_ports,
    make_platform,
    sessions_service,
)
from canfar_spawner.portal.setup import configure

c = get_config()

here = Path(__file__).resolve().parent
settings = LocalSettings.read(os.environ)
platform, users = make_platform(
    settings,
    catalogue=Path(os.environ.get("CANFAR_HUB_CATALOGUE") or here / "catalogue.yaml"),
    users=Path(os.environ.get("CANFAR_HUB_USERS") or here / "users.yaml"),
    log=logging.getLogger("JupyterHub"),
)
hub_port, proxy_port, _ = inner_ports(settings)

configure(c, platform, sessions=sessions_service(settings))
c.JupyterHub.spawner_class = "canfar-local"

# Who may sign in: the accounts of users.yaml, all with the one password of the data directory.
# For others take another authenticator and another identity source.
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = demo_password(settings)
c.Authenticator.allowed_users = set(users.users)
c.Authenticator.admin_users = {name for name, user in users.users.items() if user.admin}
c.Authenticator.delete_invalid_users = True

# This machine only. With CANFAR_HUB_HOST=hub.localhost every user has an origin of her own.
c.JupyterHub.bind_url = f"http://127.0.0.1:{settings.port}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{hub_port}"
c.JupyterHub.public_url = f"{settings.url}/"
if settings.own_origins():
    c.JupyterHub.subdomain_host = settings.url

# Files of hub and proxy.
c.JupyterHub.db_url = f"sqlite:///{settings.hub / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(settings.hub / "cookie_secret")
c.ConfigurableHTTPProxy.command = environments.proxy_command()
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.pid_file = str(settings.hub / "proxy.pid")
