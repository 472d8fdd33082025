"""The REST interface as an OpenAPI document, made from the table that also serves it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from canfar_spawner.manager import schemas
from canfar_spawner.manager.route import JSON, TEXT, Access, Parameter, Reply, Route

_PARTS: Final = re.compile(r"\{([a-z_]+)\}")
_SCHEME: Final = "token"

_BAD: Final = "What was asked for is not possible; says why and what is."
_SHARED: Final = {
    400: _BAD,
    401: "No token, or one that the hub does not know.",
    403: "The token does not permit this.",
    404: "There is no such thing, or it is somebody else's.",
    409: "It contradicts what there is.",
    413: "The request is too large.",
    424: "What carries sessions out could not do it.",
    503: "A part of the platform does not answer now. Retry-After says when to try again.",
}
"""The refusals, which all have the same form."""
_OF_A_PERSON: Final = (401, 403, 503)


def _refusal(status: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": _SHARED[status],
        "content": {TEXT: {"schema": schemas.TEXT}, JSON: {"schema": schemas.ERROR}},
    }
    if status == 503:
        found["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    if status == 401:
        found["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return found


def _reply(reply: Reply) -> dict[str, Any]:
    found: dict[str, Any] = {"description": reply.description}
    if not reply.empty:
        found["content"] = {reply.media: {"schema": reply.schema}}
        if reply.or_text:
            found["content"][TEXT] = {"schema": schemas.TEXT}
    return found


def refusals(route: Route) -> tuple[int, ...]:
    """Give the statuses with which a route may refuse."""
    found = set(route.refuses)
    if route.access is not Access.ANYBODY:
        found |= set(_OF_A_PERSON)
    if route.parameters or route.body or "{" in route.path:
        found.add(400)
    if "{" in route.path:
        found.add(404)
    if route.body:
        found.add(413)
    return tuple(sorted(found))


def _parameter(parameter: Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
        "schema": parameter.schema,
    }
    if parameter.where == "query" and parameter.schema.get("type") == "array":
        found |= {"style": "form", "explode": True}
    return found


def _operation(route: Route) -> dict[str, Any]:
    path = [
        {"name": name, "in": "path", "required": True, "schema": schemas.TEXT}
        for name in _PARTS.findall(route.path)
    ]
    found: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "parameters": [*path, *map(_parameter, route.parameters)],
        "responses": {
            **{str(status): _reply(reply) for status, reply in route.answers.items()},
            **{str(status): _refusal(status) for status in refusals(route)},
        },
    }
    if route.body:
        content = {media: {"schema": schema} for media, schema in route.body.items()}
        found["requestBody"] = {"content": content}
    if route.access is Access.ANYBODY:
        found["security"] = []
    return found


def document(routes: Iterable[Route], public: str) -> dict[str, Any]:
    """Write the document.

    Parameters
    ----------
    routes : iterable of Route
    public : str
        The service as programs reach it, without a slash at the end.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(f"/{route.path}", {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sessions",
            "version": "1",
            "description": (
                "Sessions and batch jobs of a JupyterHub for astronomy: what the public canfar"
                " client speaks, and our own beside it. Refusals are one sentence; with"
                " `Accept: application/problem+json` they are JSON."
            ),
        },
        "servers": [{"url": public}],
        "security": [{_SCHEME: []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                _SCHEME: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "From the hub's page of access tokens.",
                }
            }
        },
    }
