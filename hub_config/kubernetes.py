"""The hub for a cluster: sessions are pods. This file is yours to edit.

What the site offers is in catalogue.yaml; its section `pods` has namespaces, claims, node
selectors and the like. docs/admin/kubernetes.md says what has to be applied to the cluster first.

| Variable | Default | Meaning |
|---|---|---|
| `CANFAR_HUB_DATA` | `./var` | database and secrets of the hub; a volume of its own in a cluster |
| `CANFAR_HUB_PORT` | `8000` | where people reach the hub |
| `CANFAR_HUB_URL` | `http://127.0.0.1:<port>` | the same, as browsers write it |
| `CANFAR_HUB_ORIGINS` | `own` with another host than 127.0.0.1 | `own`: each user has an origin of her own; `one`: one for all |
| `CANFAR_HUB_API` | `http://0.0.0.0:8081` | where the hub listens for sessions |
| `CANFAR_HUB_CONNECT` | `http://hub.canfar-hub:8081` | the same, as sessions reach it |
| `CANFAR_HUB_PROXY_API` | `http://127.0.0.1:8001` | where the hub tells the proxy its routes |
| `CANFAR_HUB_SIGN_IN` | `demo` | `demo`, or `oidc` for an OpenID provider |
| `CANFAR_HUB_PASSWORD` | none | the password of the demo accounts |
| `CANFAR_SESSIONS_ADDRESS` | `http://sessions.canfar-hub:10101` | where the session manager listens |
| `CANFAR_SESSIONS_TOKEN_FILE` | none | the file with the secret that hub and session manager share |
| `CANFAR_SESSIONS_TOKEN` | none | the secret itself, in place of a file |
| `KUBECONFIG` | the pod's own account | how to reach the cluster from outside |
"""

import logging
import os
import sys
from pathlib import Path

from canfar_spawner.kubernetes.settings import (
    SettingError,
    configure_cluster,
    make_platform,
    own_origins,
    sessions_service,
    users_file,
)
from canfar_spawner.site.files import load
from canfar_spawner.site.users_file import Users

c = get_config()

here = Path(__file__).resolve().parent
data = Path(os.environ.get("CANFAR_HUB_DATA") or "var").resolve()
port = os.environ.get("CANFAR_HUB_PORT") or "8000"
log = logging.getLogger("JupyterHub")
users_path = Path(os.environ.get("CANFAR_HUB_USERS") or here / "users.yaml")
sign_in = os.environ.get("CANFAR_HUB_SIGN_IN") or "demo"

if sign_in == "demo":
    identities = users_file(users_path, log)
    password = os.environ.get("CANFAR_HUB_PASSWORD", "")
    if not password:
        sys.exit("CANFAR_HUB_PASSWORD is not set: the demo accounts need a password.")
    users = load(users_path, Users)
    c.JupyterHub.authenticator_class = "dummy"
    c.DummyAuthenticator.password = password
    c.Authenticator.allowed_users = set(users.users)
    c.Authenticator.admin_users = {name for name, user in users.users.items() if user.admin}
elif sign_in == "oidc":
    sys.path.insert(0, str(here / "auth"))
    import oidc

    identities = oidc.configure(c, data=data, users=users_path, log=log)
else:
    sys.exit(f"CANFAR_HUB_SIGN_IN must be demo or oidc, not {sign_in}.")

platform = make_platform(
    data=data,
    catalogue=Path(os.environ.get("CANFAR_HUB_CATALOGUE") or here / "catalogue.yaml"),
    identities=identities,
    log=log,
)
url = os.environ.get("CANFAR_HUB_URL") or f"http://127.0.0.1:{port}"
try:
    configure_cluster(c, platform, sessions=sessions_service(os.environ))
    if own_origins(os.environ, url):
        # Every user has an origin of her own, which keeps sessions from reading the hub's pages.
        c.JupyterHub.subdomain_host = url
except SettingError as error:
    sys.exit(str(error))

c.JupyterHub.bind_url = f"http://0.0.0.0:{port}"
c.JupyterHub.public_url = f"{url}/"
c.JupyterHub.hub_bind_url = os.environ.get("CANFAR_HUB_API") or "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = os.environ.get("CANFAR_HUB_CONNECT") or "http://hub.canfar-hub:8081"

c.JupyterHub.db_url = f"sqlite:///{data / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(data / "cookie_secret")
c.ConfigurableHTTPProxy.api_url = os.environ.get("CANFAR_HUB_PROXY_API") or "http://127.0.0.1:8001"
c.ConfigurableHTTPProxy.pid_file = str(data / "proxy.pid")
