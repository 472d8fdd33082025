"""Sign-in at an OpenID provider; README.md beside this file says how it is used.

The variables CANFAR_OIDC_… say which provider and who may sign in. What they cannot say is set
below, and this file is yours to edit.
"""

import difflib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from canfar_spawner.core.identity import IdentitySource
from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.hub.openid import (
    OpenIdAuthenticator,
    SignInError,
    discover,
    keep_codes_out_of_log,
)
from canfar_spawner.site.claims import ClaimNames, Claims
from canfar_spawner.site.files import WatchedFile
from canfar_spawner.site.users_file import Users

PREFIX = "CANFAR_OIDC_"
DEFAULTS = {
    "ISSUER": "",
    "CLIENT_ID": "",
    "CLIENT_SECRET": "",
    "CLIENT_SECRET_FILE": "",
    "ALLOW": "",
    "ADMINS": "",
    "TITLE": "your institute",
    "SCOPE": "openid profile",
    "NAME_CLAIM": "preferred_username",
    "UID_CLAIM": "uid",
    "GID_CLAIM": "gid",
    "GROUPS_CLAIM": "groups",
}
EVERYBODY = "everybody"


def read(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the settings; a mistake is said before the hub starts."""
    for name in environ:
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in DEFAULTS:
            near = difflib.get_close_matches(name, [PREFIX + known for known in DEFAULTS], n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise SignInError(f"There is no setting {name}.{hint}")
    found = {name: environ.get(PREFIX + name, default) for name, default in DEFAULTS.items()}
    if found["CLIENT_SECRET_FILE"]:
        try:
            found["CLIENT_SECRET"] = Path(found["CLIENT_SECRET_FILE"]).read_text().strip()
        except OSError as error:
            raise SignInError(
                f"{PREFIX}CLIENT_SECRET_FILE cannot be read: {error.strerror}."
            ) from None
    for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "NAME_CLAIM", "UID_CLAIM", "GID_CLAIM"):
        if not found[name]:
            raise SignInError(f"{PREFIX}{name} must be set.")
    if not words(found["ALLOW"]):
        raise SignInError(
            f"{PREFIX}ALLOW must name the groups that may sign in, separated by commas, or be"
            f" {EVERYBODY}."
        )
    if "openid" not in found["SCOPE"].split():
        raise SignInError(f"{PREFIX}SCOPE must have openid in it.")
    if not environ.get("JUPYTERHUB_CRYPT_KEY"):
        raise SignInError(
            "JUPYTERHUB_CRYPT_KEY must be set: it encrypts what renews a sign-in. Make one with"
            " openssl rand -hex 32, and keep it."
        )
    return found


def words(text: str) -> set[str]:
    """Split a list of a variable."""
    return {word.strip() for word in text.split(",") if word.strip()}


def configure(
    c: Any, *, data: Path, log: logging.Logger, users: Path | None = None
) -> Callable[[Callable[[], SitePolicy]], IdentitySource]:
    """Configure sign-in, and give what makes the identity source once there is a policy.

    ``data`` is the hub's own directory. ``users`` is a users file: its groups give numbers to the
    names of groups and must not be contradicted; its users count for nothing here.
    """
    keep_codes_out_of_log()
    settings = read(os.environ)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    provider = discover(settings["ISSUER"], data / "openid.json", log)
    people = WatchedFile(users, Users, log) if users else None
    claims = Claims(
        data / "claims",
        issuer=provider.issuer,
        names=ClaimNames(
            uid=settings["UID_CLAIM"], gid=settings["GID_CLAIM"], groups=settings["GROUPS_CLAIM"]
        ),
        gids=lambda: people.value.groups if people else {},
        log=log,
    )
    c.JupyterHub.authenticator_class = OpenIdAuthenticator

    # Who may sign in. Nobody is known by name, so none is in a list.
    c.Authenticator.allowed_users = set()
    c.Authenticator.admin_users = set()
    c.Authenticator.delete_invalid_users = False
    c.Authenticator.manage_groups = True
    c.OpenIdAuthenticator.allow_all = settings["ALLOW"] == EVERYBODY
    c.OpenIdAuthenticator.allowed_groups = words(settings["ALLOW"]) - {EVERYBODY}
    c.OpenIdAuthenticator.admin_groups = words(settings["ADMINS"])

    # The provider. PKCE always: a stolen code is worth nothing.
    c.OpenIdAuthenticator.issuer = provider.issuer
    c.OpenIdAuthenticator.authorize_url = provider.authorization_endpoint
    c.OpenIdAuthenticator.token_url = provider.token_endpoint
    c.OpenIdAuthenticator.userdata_url = provider.userinfo_endpoint
    c.OpenIdAuthenticator.basic_auth = provider.basic_auth
    c.OpenIdAuthenticator.client_id = settings["CLIENT_ID"]
    c.OpenIdAuthenticator.client_secret = settings["CLIENT_SECRET"]
    c.OpenIdAuthenticator.scope = settings["SCOPE"].split()
    c.OpenIdAuthenticator.enable_pkce = True
    # Without CANFAR_HUB_URL it is the address that the browser has used.
    public = os.environ.get("CANFAR_HUB_URL", "").rstrip("/")
    c.OpenIdAuthenticator.oauth_callback_url = f"{public}/hub/oauth_callback" if public else ""
    c.OpenIdAuthenticator.login_service = settings["TITLE"]

    # The claims. They are asked for again at each launch, which needs the encrypted state.
    c.OpenIdAuthenticator.claims = claims
    c.OpenIdAuthenticator.username_claim = settings["NAME_CLAIM"]
    c.OpenIdAuthenticator.groups_claim = settings["GROUPS_CLAIM"]
    c.Authenticator.enable_auth_state = True
    c.Authenticator.refresh_pre_spawn = True
    c.Authenticator.auth_refresh_age = 300

    def identities(policy: Callable[[], SitePolicy]) -> IdentitySource:
        claims.projects = lambda: policy().projects
        return claims

    return identities
