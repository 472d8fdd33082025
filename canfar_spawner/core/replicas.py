"""Batch jobs that were asked for together, which the public client numbers at their names' ends."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_NUMBERED: Final = re.compile(r"(?P<stem>.+)-(?P<number>[1-9][0-9]{0,4})")
MARK: Final = "REPLICA_ID"
"""The variable by which the client tells a job which of many it is."""


def replica(name: str, env_names: Iterable[str]) -> tuple[str, int] | None:
    """Give the common name of a job's replicas and which of them it is; None where it is alone.

    Parameters
    ----------
    name : str
    env_names : iterable of str
        The variables that its owner set: a name with a number at its end alone says nothing.
    """
    found = _NUMBERED.fullmatch(name)
    if found is None or MARK not in env_names:
        return None
    return found["stem"], int(found["number"])
