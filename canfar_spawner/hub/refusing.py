"""How a refusal of the platform becomes one that JupyterHub shows as it stands."""

from __future__ import annotations

from jupyterhub.spawner import SpawnException

from canfar_spawner.core.errors import SessionError


def refusal(error: SessionError) -> SpawnException:
    """Give the exception that JupyterHub shows as it stands and does not count as its own fault."""
    found = SpawnException(
        error.sentence,
        reason=error.code,
        log_message=error.detail or error.sentence,
        status_code=error.status,
    )
    # Otherwise pages would show the exception's name and status with the sentence.
    found.jupyterhub_message = error.sentence
    return found
