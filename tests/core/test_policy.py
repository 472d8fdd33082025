from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.policy import SitePolicy
from tests.core.world import SITE, site, site_data


def _containers(index: int, **changes: object) -> dict[str, Any]:
    data: dict[str, Any] = site_data()["catalogue"]
    data["containers"][index].update(changes)
    return data


MAINTENANCE = {
    "begins": "2026-12-01T09:00:00Z",
    "ends": "2026-12-01T12:00:00Z",
    "text": "Sessions go on; nothing new starts.",
}
CHANGES: dict[str, list[Any]] = {
    "branding": [
        {"name": "Other"},
        {"logo": "/logo.svg"},
        {"links": [{"label": "Docs", "href": "/docs"}]},
        {"links": [{"label": "Docs", "href": "/doc"}]},
        {"announcement": "Hello"},
        {"maintenance": MAINTENANCE},
    ],
    "catalogue": [
        {**site_data()["catalogue"], "registry": "ghcr.io"},
        {**site_data()["catalogue"], "containers": site_data()["catalogue"]["containers"][:1]},
        _containers(0, title="Astro"),
        _containers(0, description="Other."),
        _containers(0, icon="star"),
        _containers(0, kinds=["notebook"]),
        _containers(0, kinds=["headless", "notebook"]),
        _containers(0, image="skaha/other"),
        _containers(0, versions=[{"name": "26.11"}]),
        _containers(0, recommended=False),
        _containers(0, deprecated=True),
        _containers(0, successor="carta"),
        _containers(0, groups=["staff"]),
        _containers(0, aliases=[]),
        _containers(0, entry="gateway"),
        _containers(0, port=9999),
        _containers(0, keeps_prefix=False),
        _containers(0, keeps_prefix=True),
        _containers(0, local={"environment": "astroml"}),
        _containers(0, local={"command": ["jupyter", "lab"]}),
        _containers(0, local={"missing": "not here"}),
        _containers(0, local={"get": "apt-get install x"}),
        _containers(0, kubespawner_override={"priority": {"deep": [1, 2]}}),
        _containers(0, kubespawner_override={"priority": {"deep": [2, 1]}}),
    ],
    "images": [
        {},
        {"sources": ["images.canfar.net/skaha"]},
        {"sources": ["images.canfar.net", "registry.example.org:5000"]},
    ],
    "resources": [
        {},
        {"default": {"cores": [1]}},
        {"default": {"memory": [1]}},
        {"default": {"gpus": [0, 1]}},
        {"default": {"flexible": {"cores_limit": 4}}},
        {"default": {"flexible": {"cores_request": 2}}},
        {"default": {"flexible": {"memory_limit": 8}}},
        {"default": {"flexible": {"memory_request": 1}}},
    ],
    "lifetimes": [
        {"interactive": "P1D"},
        {"headless": "P1D"},
        {"longest": "P10D"},
        {"kinds": {"carta": "P1D"}},
    ],
    "limits": [{}, {"interactive": 4}, {"groups": [{"group": "heavy", "interactive": 11}]}],
    "sharing": [
        {"allowed": False},
        {"allow_on_one_domain": True},
        {"longest": "P1D"},
        {"link_lifetime": "PT1H"},
    ],
    "history": [{"sessions": "P90D"}, {"logs": "P7D"}],
    "storage": [
        {},
        {"cvmfs": True, "scratch_gb": 1},
        {"cvmfs": True, "shared_memory_gb": 0},
        {"home": {"persistence": "kept and backed up"}},
        {"home": {"persistence": "kept, no backup", "quota_gb": 5}},
        {"projects": {"persistence": "kept and backed up"}},
    ],
    "projects": [
        [],
        [{"name": "demo", "group": "demo"}],
        [{"name": "demo", "group": "other"}],
        [{"name": "demo", "group": "demo", "title": "Demo"}],
    ],
    "defaults": [{}, {"carta": "carta"}],
    "machine": [{"open_ports": True}],
    "pods": [
        {"placement": {"node_selector": {"a": "b"}}},
        {"placement": {"node_selector": {"a": "c"}}},
    ],
}


def test_the_changes_cover_every_part() -> None:
    assert set(CHANGES) == set(SitePolicy.model_fields) - {"version"}


def test_the_digest_changes_with_anything() -> None:
    policies = [SITE]
    policies += [site(**{part: value}) for part, values in CHANGES.items() for value in values]
    assert len({policy.digest for policy in policies}) == len(policies)


def test_equal_policies_have_equal_digests() -> None:
    assert site().digest == SITE.digest
    assert set(SITE.digest) <= set("0123456789abcdef")
    assert len(SITE.digest) == 12


def test_the_order_of_keys_means_nothing() -> None:
    forth = site(pods={"instance": "a", "placement": {"node_selector": {"c": "1", "d": "2"}}})
    back = site(pods={"placement": {"node_selector": {"d": "2", "c": "1"}}, "instance": "a"})
    assert forth == back
    assert forth.digest == back.digest


def test_a_policy_survives_its_own_json() -> None:
    again = SitePolicy.model_validate_json(SITE.model_dump_json())
    assert again == SITE
    assert again.digest == SITE.digest
    assert SitePolicy.model_validate(json.loads(SITE.model_dump_json())) == SITE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "less than or equal to 1"),
        ({"colour": "red"}, "Extra inputs"),
        ({"projects": [{"name": "a", "group": "a"}, {"name": "a", "group": "b"}]}, "same name"),
        ({"projects": [{"name": "../a", "group": "a"}]}, "pattern"),
        ({"projects": [{"name": ".", "group": "a"}]}, "pattern"),
        ({"projects": [{"name": "a\n", "group": "a"}]}, "pattern"),
        ({"projects": [{"name": "a", "group": "a b"}]}, "pattern"),
        ({"defaults": {"notebook": "nothing"}}, "not a container"),
        ({"defaults": {"carta": "astroml"}}, "astroml"),
        ({"images": {"sources": ["https://x"]}}, "neither registry"),
        ({"images": {"sources": ["images.canfar.net/*"]}}, "neither registry"),
        ({"branding": {"logo": "javascript:alert(1)"}}, "pattern"),
        ({"branding": {"logo": 'http://x/"><script>'}}, "pattern"),
        ({"branding": {"links": [{"label": "x", "href": "data:text/html,x"}]}}, "pattern"),
        ({"resources": {"kinds": {"laptop": {}}}}, "notebook"),
        ({"storage": {"scratch_gb": 0}}, "greater than 0"),
    ],
    ids=lambda case: str(case)[:60],
)
def test_mistakes_are_found(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        site(**changes)


def test_resources_differ_by_kind_where_the_site_says_so() -> None:
    assert SITE.resources.of(SessionKind.CARTA).gpus == (0, 1, 2)
    assert SITE.resources.of(SessionKind.NOTEBOOK) == SITE.resources.default


def test_project_names_are_known() -> None:
    assert SITE.project_names == {"demo", "survey", "secret"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ends": "2026-12-01T08:00:00Z"}, "ends before it begins"),
        ({"begins": "2026-12-01T09:00:00"}, "timezone"),
        ({"text": ""}, "at least 1 character"),
    ],
)
def test_a_maintenance_has_an_order_a_zone_and_a_text(changes: dict[str, str], words: str) -> None:
    data = site_data()
    data["branding"] = {"maintenance": {**MAINTENANCE, **changes}}
    with pytest.raises(ValidationError, match=words):
        SitePolicy.model_validate(data)
