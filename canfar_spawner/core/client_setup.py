"""The texts that set the public client up for this hub, on its page and on the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

from canfar_spawner.core.authority import SESSION_SCOPE, START_SCOPE
from canfar_spawner.core.frozen import Frozen

PLACEHOLDER: Final = "PASTE-YOUR-TOKEN-HERE"
"""Stands for the token wherever there is none; the page puts a pasted one in its place."""

REQUIREMENTS: Final = ("canfar==1.5.2", "typer>=0.27.2,<0.29")
"""The client, and the newest of what it needs that it works with."""

CONFIG_PATH: Final = "~/.canfar/config.yaml"
DAYS: Final = 30
MOST_DAYS: Final = 365

# The client refuses a token that it takes for expired; the hub knows better when it is.
_FAR: Final = datetime(2100, 1, 1, tzinfo=UTC)


def client_scopes(service: str = "sessions") -> tuple[str, ...]:
    """Give what a token for the client must be allowed, and nothing more.

    Parameters
    ----------
    service : str
        The session manager's name at the hub.
    """
    return (
        f"access:services!service={service}",
        f"{SESSION_SCOPE}!user",
        f"{START_SCOPE}!user",
    )


class ClientSetup(Frozen):
    """What to type and where; each text can be copied as it stands."""

    install: str
    """A line for a shell: the client, in versions that work together."""
    variables: str
    """Two lines for a shell: all that the client needs."""
    config: str
    """The client's own file, in place of the variables."""
    create: str
    """A first batch job."""
    look: str
    """How it is doing."""
    logs: str
    """What it wrote."""
    python: str
    """The same from Python."""
    workflow: str
    """A workflow of GitHub Actions that starts a job."""


def _quoted(text: str) -> str:
    """Write a text for YAML and Python alike."""
    return json.dumps(text)


def client_setup(
    *, service_url: str, image: str, token: str = PLACEHOLDER, expires: datetime | None = None
) -> ClientSetup:
    """Write the texts for one hub.

    Parameters
    ----------
    service_url : str
        Where the session manager is, as scripts reach it, without ``/v1``.
    image : str
        An image that can run batch jobs here.
    token : str, optional
    expires : datetime, optional
        When the token ends, where that is known.
    """
    base = service_url.rstrip("/")
    address = f"{base}/v1"
    until = int((expires or _FAR).timestamp())
    packages = " ".join(_quoted(package) for package in REQUIREMENTS)
    return ClientSetup(
        install=f"pip install {packages}",
        variables=f"export CANFAR_URL={address}\nexport CANFAR_TOKEN={token}",
        config=f"""version: 2
active: {{authentication: srcnet, server: hub, servers: {{srcnet: hub}}}}
authentication:
  srcnet:
    idp: srcnet
    mode: oidc
    token: {{access: {_quoted(token)}}}
    expiry: {{access: {until}}}
servers:
  hub:
    name: hub
    idp: srcnet
    uri: "ivo://hub.example.org/skaha"
    url: {_quoted(base)}
    version: v1
    auths: [oidc]
""",
        create=f"canfar create --name hello --replicas 2 headless {image} -- printenv REPLICA_ID",
        look="canfar ps --all",
        logs="canfar logs $(canfar ps --all --quiet --kind headless)",
        python=f"""from canfar.sessions import Session

session = Session()  # takes the variables, or the file
ids = session.create(
    name="hello",
    kind="headless",
    image={_quoted(image)},
    cmd="printenv",
    args="REPLICA_ID",
    replicas=2,
)
print(ids)
print(session.info(ids))
""",
        workflow=f"""name: Batch job
on: workflow_dispatch
permissions: {{}}
jobs:
  submit:
    runs-on: ubuntu-latest
    env:
      CANFAR_URL: {address}
      CANFAR_TOKEN: ${{{{ secrets.CANFAR_TOKEN }}}}
    steps:
      - run: pip install {packages}
      - run: canfar create --name nightly headless {image} -- printenv CANFAR_SESSION_ID
      - run: canfar ps --all
""",
    )
