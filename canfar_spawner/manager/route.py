"""One route of the REST interface, described well enough to serve and to document it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

JSON: Final = "application/json"
TEXT: Final = "text/plain"
XML: Final = "text/xml"
FORM: Final = "application/x-www-form-urlencoded"


class Access(StrEnum):
    """Who may call a route at all; what she may do there is for `core.authority`."""

    ANYBODY = "anybody"
    CALLER = "caller"
    """Whoever has a valid token of a person, or of a session of hers."""
    HUB = "hub"
    """The hub itself, with the secret that it shares with the manager."""
    OPERATOR = "operator"
    """The hub itself, and administrators."""
    MEASURER = "measurer"
    """The hub itself, programs of this machine, and whoever may read metrics."""


@dataclass(frozen=True)
class Parameter:
    """Something that may be given in the query string or a header."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    where: str = "query"


@dataclass(frozen=True)
class Reply:
    """One answer that a route may give."""

    description: str
    media: str = TEXT
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    empty: bool = False
    or_text: bool = False
    """With some parameters it is a text instead."""


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    """Below the service, such as ``v1/session/{id}``."""
    operation: str
    """A word for it, unlike all others."""
    summary: str
    handler: type[Any]
    access: Access = Access.CALLER
    parameters: tuple[Parameter, ...] = ()
    body: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What may be sent, by media type."""
    answers: Mapping[int, Reply] = field(default_factory=dict)
    """When all is well."""
    refuses: tuple[int, ...] = ()
    """Statuses of refusals beyond those that follow from the rest."""
    aliases: tuple[str, ...] = ()
    """Other paths of the same, which the document does not name."""
