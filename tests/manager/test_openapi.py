"""The table of routes, what is served of it, and the document that is made of it."""

from __future__ import annotations

import json
import re

from canfar_spawner.manager.openapi import document, refusals
from canfar_spawner.manager.route import Access
from canfar_spawner.manager.routes import ROUTES, v1_routes

PUBLIC = "https://hub.example.org/services/sessions"


def test_every_route_is_served_and_nothing_else_is() -> None:
    served = {
        (pattern, method) for pattern, _, settings in v1_routes() for method in settings["routes"]
    }
    assert len({pattern for pattern, _, _ in v1_routes()}) == len(v1_routes())
    for route in ROUTES:
        for path in (route.path, *route.aliases):
            pattern = re.sub(r"\{[a-z_]+\}", "([^/]+)", path).replace(".", r"\.")
            assert path == "" or (pattern, route.method) in served
    for _, handler, settings in v1_routes():
        for method in ("get", "post", "put", "patch", "delete"):
            made = any(
                method in vars(base) for base in handler.__mro__ if "canfar" in base.__module__
            )
            assert made is (method.upper() in settings["routes"]), (handler, method)


def test_operations_have_names_of_their_own() -> None:
    names = [route.operation for route in ROUTES]
    assert len(set(names)) == len(names)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


def test_the_document_is_whole() -> None:
    found = document(ROUTES, PUBLIC)
    json.dumps(found)
    assert found["openapi"].startswith("3.1")
    assert found["servers"] == [{"url": PUBLIC}]
    count = 0
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            count += 1
            places = set(re.findall(r"\{([a-z_]+)\}", path))
            named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert named == places
            assert operation["summary"]
            assert operation["responses"], (method, path)
    assert count == len(ROUTES)


def test_whatever_needs_a_token_says_so() -> None:
    open_to_all = {route.path for route in ROUTES if route.access is Access.ANYBODY}
    assert open_to_all == {"", "capabilities", "availability", "v1/openapi.json"}
    for route in ROUTES:
        if route.access is not Access.ANYBODY:
            assert {401, 403, 503} <= set(refusals(route)), route.operation
        if "{" in route.path:
            assert 404 in refusals(route)
        if route.body:
            assert {400, 413} <= set(refusals(route))
