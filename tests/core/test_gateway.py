"""What gateway and application are told of a session."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from canfar_spawner.core import gateway
from canfar_spawner.core.backend import Secrets


def test_an_application_listens_in_one_place() -> None:
    with pytest.raises(ValueError, match="a port or on a socket"):
        gateway.Listening()
    with pytest.raises(ValueError, match="a port or on a socket"):
        gateway.Listening(port=5000, socket="/run/app.sock")


@pytest.mark.parametrize(
    ("name", "hubs"),
    [("JUPYTERHUB_API_TOKEN", True), ("JPY_API_TOKEN", True), ("SURVEY", False), ("TZ", False)],
)
def test_the_hubs_variables_are_told_apart(name: str, *, hubs: bool) -> None:
    assert gateway.is_hubs(name) is hubs


def test_secrets_are_not_shown() -> None:
    secrets: Any = Secrets(application=SecretStr("shared"))
    assert "shared" not in repr(secrets)
