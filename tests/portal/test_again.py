"""An earlier session, launched again: by a form in one press, and by a link that fills the form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.request import options_from_fields
from canfar_spawner.core.resources import GIB, Allocation
from canfar_spawner.portal.again import Words, again, again_url, lineage
from canfar_spawner.portal.home import continued
from tests.core.world import plan

REQUESTS: dict[str, dict[str, Any]] = {
    "flexible": {"container": "astroml", "name": "M 31"},
    "fixed": {"container": "astroml", "version": "26.05", "cores": 2, "memory": 8},
    "partly fixed cores": {"container": "astroml", "cores": 2},
    "partly fixed memory": {"container": "astroml", "memory": 16},
    "no projects": {"container": "astroml", "projects": []},
    "one project": {"container": "astroml", "projects": ["survey"]},
    "with gpus": {"container": "carta", "gpus": 2},
    "an image": {"image": "images.canfar.net/skaha/x/y:9", "kind": "notebook", "name": "x + y"},
}


def fields(words: Words) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in words:
        found.setdefault(name, []).append(value)
    return found


def what(made: SessionPlan) -> tuple[object, ...]:
    """Everything of a session that its owner has chosen."""
    return made.name, made.kind, made.image, made.version, made.resources, made.storage


@pytest.mark.parametrize("options", REQUESTS.values(), ids=REQUESTS)
def test_what_is_posted_gives_the_same_session(options: dict[str, Any]) -> None:
    first = plan(options)
    assert what(plan(options_from_fields(fields(again(first))))) == what(first)


@pytest.mark.parametrize("options", REQUESTS.values(), ids=REQUESTS)
def test_the_link_fills_in_the_same(options: dict[str, Any]) -> None:
    first = plan(options)
    query = parse_qs(urlsplit(again_url(first)).query, keep_blank_values=True)
    named = {name.removeprefix("opt-"): values for name, values in query.items()}
    assert what(plan(options_from_fields(named))) == what(first)


def test_a_larger_one_is_fixed_and_takes_its_place() -> None:
    first = plan({"container": "astroml", "continues": ["a0000001"]})
    words = (*again(first, name="renamed", sizes=("2", "32")), *lineage(first))
    later = plan(options_from_fields(fields(words)))
    assert later.name == "renamed"
    assert later.resources.allocation is Allocation.FIXED
    assert later.resources.memory_limit == 32 * GIB
    assert later.continues == (first.session, "a0000001"), "older links lead to it, too"


def hub_with(recent: SessionPlan) -> tuple[Any, Any]:
    """Give as much of a hub as is asked for what took a session's place and has ended."""
    user = SimpleNamespace(name="ada", spawners={})
    endings = (SimpleNamespace(plan=recent),)
    return SimpleNamespace(recent=SimpleNamespace(of=lambda _: endings)), user


@pytest.mark.parametrize(
    "address",
    [
        "/hub/spawn/ada/?next=%2Fuser%2Fada%2Fk3vd81qa%2Flab%2Ftree",
        "/hub/spawn/ada/?next=%2Fhub%2Fuser%2Fada%2Fk3vd81qa%2F",
        "/x/hub/spawn/ada/?next=%2Fx%2Fhub%2Fuser%2Fada%2Fk3vd81qa",
    ],
)
def test_an_old_link_is_known_by_its_session(address: str) -> None:
    later = plan({"container": "astroml", "name": "later", "continues": ["k3vd81qa"]})
    found = continued(*hub_with(later), address)
    assert found is not None
    assert (found.name, found.over) == ("later", True)


@pytest.mark.parametrize(
    "address", ["", "/hub/spawn/ada/", "/hub/spawn/ada/?next=%2Fuser%2Fada%2Fb0000000%2F", "?next="]
)
def test_other_links_lead_nowhere(address: str) -> None:
    later = plan({"container": "astroml", "continues": ["k3vd81qa"]})
    assert continued(*hub_with(later), address) is None
