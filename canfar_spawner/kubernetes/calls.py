"""Requests to the Kubernetes API as data: where things are, and which are worth another try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

from typing_extensions import override

from canfar_spawner.kubernetes.answers import NOT_THE_SERVER, ApiError, Conflict

_CORE: Final = "/api/v1"
_PREFIXES: Final = {
    "configmaps": _CORE,
    "events": _CORE,
    "jobs": "/apis/batch/v1",
    "namespaces": _CORE,
    "nodes": _CORE,
    "persistentvolumeclaims": _CORE,
    "pods": _CORE,
    "resourcequotas": _CORE,
    "secrets": _CORE,
}
WITHOUT_CONTENT: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Asks for a list of what objects are called and are marked with, and not for what they hold."""
_TRIED_AGAIN: Final = frozenset({0, 401, 429, 500, 502, 503, 504})
"""0 is no answer; 401 is also what a server says that cannot reach its own database."""


@dataclass(frozen=True)
class Call:
    """A request, ready to be sent as often as it takes."""

    verb: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: dict[str, Any] | None = None
    content: str = "application/json"
    accept: str = "application/json, */*"
    names: Mapping[str, str] = field(default_factory=dict)

    @override
    def __str__(self) -> str:
        return f"{self.verb} {self.path.format_map(self.names)}"


class Where(TypedDict):
    """A path with places for names, and the names."""

    path: str
    names: Mapping[str, str]


def many(kind: str, namespace: str) -> Where:
    """Say where the objects of a kind are."""
    if namespace:
        path = f"{_PREFIXES[kind]}/namespaces/{{namespace}}/{kind}"
        return {"path": path, "names": {"namespace": namespace}}
    return {"path": f"{_PREFIXES[kind]}/{kind}", "names": {}}


def one(kind: str, namespace: str, name: str, part: str = "") -> Where:
    """Say where one object is, or a part of it."""
    if not name:
        # It would mean all of them.
        raise ValueError("an object without a name")
    where = many(kind, namespace)
    return {
        "path": f"{where['path']}/{{name}}{part}",
        "names": {**where["names"], "name": name},
    }


def query_of(**values: object) -> tuple[tuple[str, str], ...]:
    """Give the parameters of a request that have a value."""
    return tuple((key, str(value)) for key, value in values.items() if value not in ("", None))


def worth_another(verb: str, error: ApiError) -> bool:
    """Say whether the same request may fare better a little later."""
    if error.status in _TRIED_AGAIN or error.reason == NOT_THE_SERVER:
        return True
    # Many pods made at once trip over the count of their quota; nothing was made.
    return verb == "POST" and isinstance(error, Conflict)
