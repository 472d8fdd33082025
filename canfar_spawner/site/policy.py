"""``catalogue.yaml``, as a `SitePolicy`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.site.files import WatchedFile


def watch_policy(path: Path, log: logging.Logger) -> WatchedFile[SitePolicy]:
    """Open a catalogue file; raises SiteFileError where it is broken."""
    return WatchedFile(path, SitePolicy, log)


def policy_schema() -> dict[str, Any]:
    """Give the JSON schema of a catalogue file, for editors and other programs."""
    schema = SitePolicy.model_json_schema()
    # A file gives a source as one text; see the validator of SitePolicy.
    whole = schema["$defs"]["ImageSource"]
    schema["$defs"]["ImageSource"] = {"anyOf": [{"type": "string"}, whole]}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "CANFAR Hub catalogue"
    return schema
