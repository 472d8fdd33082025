"""What callers ask for, read strictly: the transfer it means, or a sentence that says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canfar_lab.storage import paths
from canfar_lab.storage.errors import Refused, shown
from canfar_lab.transfers.jobs import CONFLICTS, COPIES, Job, Spot

_FIELDS = {
    "copy": ("from", "to", "name", "conflict", "checksum"),
    "move": ("from", "to", "name", "conflict", "checksum"),
    "upload": ("to", "name", "size", "modified", "conflict", "checksum"),
    "checksum": ("from",),
}
_MOST_PATHS = 10_000
_YEAR_10000 = 253_402_300_800_000


def transfer(asked: Mapping[str, Any]) -> Job:
    """Read what is to be transferred.

    Raises
    ------
    Refused

    Examples
    --------
    >>> asked = {"kind": "checksum", "from": {"area": "home", "paths": ["m31.fits"]}}
    >>> transfer(asked).name
    'm31.fits'
    """
    kind = asked.get("kind")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise Refused("invalid", f"The field kind must be one of {', '.join(_FIELDS)}.")
    fields = _FIELDS[kind]
    for name in asked:
        if name != "kind" and name not in fields:
            raise Refused(
                "invalid",
                f"There is no field {shown(name)} of a {kind}; known are {', '.join(fields)}.",
            )
    job = Job(kind)
    if "from" in fields:
        job.source = _source(asked.get("from"))
        job.name = job.source.path.rpartition("/")[2]
    if "to" in fields:
        job.target = _target(asked.get("to"))
        job.conflict = _conflict(asked.get("conflict"))
        job.verify = _flag(asked.get("checksum"))
    if kind == "checksum" and job.source is not None and len(job.source.paths) != 1:
        raise Refused("invalid", "The checksum of one file is made at a time.")
    if kind in COPIES:
        job.name = _new_name(job, asked.get("name"))
    if kind == "upload":
        job.name = paths.check_name(_text(asked.get("name"), "name"))
        job.bytes_total = _count(asked.get("size"), "size", "the number of bytes that will come")
        job.files_total = 1
        if asked.get("modified") is not None:
            what = "milliseconds since 1970"
            job.modified = min(_count(asked["modified"], "modified", what), _YEAR_10000)
    return job


def _new_name(job: Job, name: object) -> str:
    """Give the name that a copy shall have; empty where it is that of its source."""
    if name is None:
        return ""
    if job.source is None or len(job.source.paths) != 1:
        raise Refused("invalid", "The field name is for one file or folder; leave it out.")
    return paths.check_name(_text(name, "name"))


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise Refused("invalid", f"The field {name} must be a text.")
    return value


def _count(value: object, name: str, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Refused("invalid", f"The field {name} must be {what}, a whole number from 0 on.")
    return value


def _flag(value: object) -> bool:
    if value is not None and not isinstance(value, bool):
        raise Refused("invalid", "The field checksum must be true or false.")
    return bool(value)


def _conflict(value: object) -> str:
    if value is None:
        return CONFLICTS[0]
    if value not in CONFLICTS:
        raise Refused("invalid", f"The field conflict must be one of {', '.join(CONFLICTS)}.")
    return str(value)


def _object(value: object, name: str, *fields: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or set(value) != set(fields):
        raise Refused("invalid", f"The field {name} must be an object with {' and '.join(fields)}.")
    return value


def _source(value: object) -> Spot:
    told = _object(value, "from", "area", "paths")
    found = told["paths"]
    if not isinstance(found, list) or not 0 < len(found) <= _MOST_PATHS:
        raise Refused("invalid", f"The field paths must be a list of 1 to {_MOST_PATHS} paths.")
    for path in found:
        if not paths.split(_text(path, "paths")):
            raise Refused(
                "not-allowed", "A whole area is not transferred; name what is in it.", 403
            )
    if len(set(found)) != len(found):
        raise Refused("invalid", "The field paths has a path twice.")
    return Spot(_text(told["area"], "area"), list(found))


def _target(value: object) -> Spot:
    told = _object(value, "to", "area", "path")
    path = _text(told["path"], "path")
    paths.split(path)
    return Spot(_text(told["area"], "area"), [path])
