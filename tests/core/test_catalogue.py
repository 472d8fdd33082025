from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from canfar_spawner.core.catalogue import Catalogue, Container, Version
from canfar_spawner.core.errors import Invalid, NotAllowed
from canfar_spawner.core.images import ImageRef
from canfar_spawner.core.kinds import SessionKind
from tests.core.world import ADA, CONTAINERS, SITE, STAFF, plan, site_data

CATALOGUE = SITE.catalogue
ADAS, STAFFS = ADA.group_names, STAFF.group_names


def with_container(**changes: object) -> Catalogue:
    data = site_data()["catalogue"]
    data["containers"][0].update(changes)
    return Catalogue.model_validate(data)


def with_versions(*versions: dict[str, object]) -> Container:
    return with_container(versions=list(versions)).containers[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"versions": [{"name": "1"}, {"name": "1"}]}, "same name"),
        ({"versions": [{"name": "1", "successor": "2"}]}, "successor 2"),
        (
            {"versions": [{"name": "1", "recommended": True}, {"name": "2", "recommended": True}]},
            "more than one version",
        ),
        ({"versions": []}, "at least 1"),
        ({"versions": [{"name": "1:2"}]}, "pattern"),
        ({"versions": [{"name": "-1"}]}, "pattern"),
        ({"versions": [{"name": "1\n"}]}, "pattern"),
        ({"versions": [{"name": "t" * 65}]}, "pattern"),
        ({"versions": [{"name": "1", "retired": True}]}, "Extra inputs"),
        ({"kinds": []}, "at least 1"),
        ({"kinds": ["laptop"]}, "notebook"),
        ({"kinds": ["notebook", "carta"]}, "entry direct"),
        ({"aliases": ["astroml"]}, "not an image reference"),
        ({"aliases": ["images.canfar.net/skaha/old:1"]}, "without tag"),
        ({"aliases": ["images.canfar.net/skaha/old@sha256:" + "0" * 64]}, "without tag"),
        ({"aliases": ["images.canfar.net/a/b", "images.canfar.net/a/b"]}, "stands for both"),
        ({"name": "carta"}, "stands for both"),
        ({"name": "AstroML"}, "pattern"),
        ({"name": "../x"}, "pattern"),
        ({"successor": "nothing"}, "not a container"),
        ({"image": "astroml"}, "not an image reference"),
        ({"image": "skaha/astroml:1"}, "not an image reference"),
        ({"image": "skaha/../x"}, "not an image reference"),
        ({"image": "https://images.canfar.net/skaha/x"}, "not an image reference"),
        ({"port": 0}, "greater than 0"),
        ({"port": 65536}, "less than 65536"),
        ({"title": ""}, "at least 1"),
        ({"title": "x" * 61}, "at most 60"),
        ({"description": ""}, "at least 1"),
        ({"icon": "x.svg"}, "pattern"),
        ({"entry": "side"}, "gateway"),
        ({"colour": "red"}, "Extra inputs"),
    ],
    ids=lambda case: str(case)[:60],
)
def test_mistakes_are_found(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        with_container(**changes)


def test_title_and_icon_follow_from_the_rest() -> None:
    said = {"name": "web-files", "description": "x", "kinds": ["contributed"], "image": "a/b"}
    found = Container.model_validate({**said, "versions": [{"name": "1"}]})
    assert (found.title, found.icon) == ("Web files", "contributed")
    with pytest.raises(ValidationError, match="kinds"):
        Container.model_validate({**said, "kinds": [["contributed"]]})


def test_a_catalogue_is_not_empty() -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        Catalogue.model_validate({"registry": "images.canfar.net", "containers": []})


@pytest.mark.parametrize("registry", ["", "https://images.canfar.net", "Images", "a b.c"])
def test_a_registry_is_a_host(registry: str) -> None:
    with pytest.raises(ValidationError, match="not an image reference"):
        Catalogue.model_validate({**site_data()["catalogue"], "registry": registry})


@pytest.mark.parametrize(
    ("versions", "default"),
    [
        ([{"name": "1"}, {"name": "2", "recommended": True}], "2"),
        ([{"name": "1", "deprecated": True}, {"name": "2"}, {"name": "3"}], "2"),
        ([{"name": "1", "deprecated": True}, {"name": "2", "deprecated": True}], "1"),
    ],
)
def test_the_default_version(versions: list[dict[str, object]], default: str) -> None:
    container = with_versions(*versions)
    assert container.version(None) == container.default_version == container.version(default)
    assert container.default_version.name == default


@pytest.mark.parametrize("name", ["27", "26.1", "26.11 ", "LATEST", "", "../x"])
def test_an_unknown_version_names_those_there_are(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        CATALOGUE.find("astroml", ADAS).version(name)
    assert caught.value.field == "version"
    assert caught.value.allowed == ("26.11", "26.05", "_dev")
    assert "26.11, 26.05 or _dev" in caught.value.sentence


def test_offers_what_the_groups_permit_recommended_first() -> None:
    assert [container.name for container in CATALOGUE.offered(ADAS)] == [
        name for name in CONTAINERS if name != "vault"
    ]
    assert {container.name for container in CATALOGUE.offered(STAFFS)} == set(CONTAINERS)
    data = site_data()["catalogue"]
    data["containers"].reverse()
    assert Catalogue.model_validate(data).offered(STAFFS)[0].name == "astroml"


def test_a_forbidden_container_is_like_one_that_is_not_there() -> None:
    assert CATALOGUE.find("vault", STAFFS).name == "vault"
    refusals = []
    for name in ("vault", "vaulx"):
        with pytest.raises(Invalid) as caught:
            CATALOGUE.find(name, ADAS)
        assert "vault" not in caught.value.allowed
        refusals.append(
            {**caught.value.as_json(), "message": caught.value.sentence.replace(name, "")}
        )
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("images.canfar.net/skaha/astroml", None),
        ("images.canfar.net/skaha/astroml:latest", None),
        ("images.canfar.net/skaha/astroml:26.05", "26.05"),
        ("images.canfar.net/cirada/astroml:26.05", "26.05"),
        ("images.canfar.net/cirada/astroml:none", "none"),
    ],
)
def test_foreign_references_stand_for_containers(image: str, version: str | None) -> None:
    found = CATALOGUE.alias(ImageRef.parse(image), ADAS)
    assert found == (CATALOGUE.find("astroml", ADAS), version)


@pytest.mark.parametrize(
    "image",
    [
        "images.canfar.net/skaha/astroml2",
        "images.canfar.net/skaha/astroml/x",
        "images.canfar.net:443/skaha/astroml",
        "evil.org/skaha/astroml",
        "images.canfar.net/skaha/astroml@sha256:" + "0" * 64,
    ],
)
def test_other_references_stand_for_nothing(image: str) -> None:
    assert CATALOGUE.alias(ImageRef.parse(image), ADAS) is None


def test_an_alias_is_no_way_around_the_groups() -> None:
    image = ImageRef.parse("images.canfar.net/skaha/vault:1.0")
    with pytest.raises(NotAllowed, match="staff") as caught:
        CATALOGUE.alias(image, ADAS)
    assert caught.value.field == "image"
    assert CATALOGUE.alias(image, STAFFS) is not None


@pytest.mark.parametrize("tag", ["", ":1.0", ":none"])
def test_a_digest_is_no_way_around_the_groups(tag: str) -> None:
    image = ImageRef.parse(f"images.canfar.net/skaha/vault{tag}@sha256:" + "0" * 64)
    with pytest.raises(NotAllowed, match="staff") as caught:
        CATALOGUE.alias(image, ADAS)
    assert caught.value.field == "image"
    # For those who may start it, it is an image of their own naming, as any that is pinned.
    assert CATALOGUE.alias(image, STAFFS) is None
    options = {"image": str(image), "kind": "notebook"}
    assert str(plan(options, STAFF).image) == str(image)
    with pytest.raises(NotAllowed, match="staff"):
        plan(options, ADA)


def test_a_pinned_image_of_two_containers_is_for_whoever_may_start_one_of_them() -> None:
    data = site_data()["catalogue"]
    data["containers"].append(
        {
            "name": "open-vault",
            "description": "The same image, for everybody.",
            "kinds": ["headless"],
            "image": "skaha/vault",
            "versions": [{"name": "2.0"}],
        }
    )
    image = ImageRef.parse("images.canfar.net/skaha/vault@sha256:" + "0" * 64)
    assert Catalogue.model_validate(data).alias(image, ADAS) is None


@pytest.mark.parametrize(
    ("tag", "kind", "groups", "name"),
    [
        ("", None, ADAS, "lab"),
        ("", "notebook", ADAS, "lab"),
        ("", "headless", ADAS, "night"),
        ("", "carta", ADAS, "lab"),
        (":26.05", None, ADAS, "night"),
        (":26.05", "headless", ADAS, "night"),
        (":26.05", "notebook", ADAS, "lab"),
        (":none", "headless", ADAS, "night"),
        ("", "desktop", ADAS, "lab"),
        ("", "desktop", STAFFS, "vault"),
    ],
)
def test_of_containers_with_one_image_the_one_that_suits_is_taken(
    tag: str, kind: str | None, groups: frozenset[str], name: str
) -> None:
    data = site_data()["catalogue"]
    data["containers"] = [
        {"title": "One", "image": "skaha/one", "description": "One image of several."} | changes
        for changes in (
            {
                "name": "vault",
                "kinds": ["desktop"],
                "groups": ["staff"],
                "versions": [{"name": "1"}],
            },
            {"name": "lab", "kinds": ["notebook"], "versions": [{"name": "26.11"}]},
            {"name": "night", "kinds": ["headless"], "versions": [{"name": "26.05"}]},
        )
    ]
    catalogue = Catalogue.model_validate(data)
    image = ImageRef.parse(f"images.canfar.net/skaha/one{tag}")
    found = catalogue.alias(image, groups, SessionKind(kind) if kind else None)
    assert found is not None
    assert (found[0].name, found[1]) == (name, tag.removeprefix(":") or None)


@pytest.mark.parametrize(
    ("image", "whole"),
    [
        ("skaha/x", "images.canfar.net/skaha/x:1"),
        ("skaha/deep/x", "images.canfar.net/skaha/deep/x:1"),
        ("ghcr.io/own/x", "ghcr.io/own/x:1"),
        ("localhost/own/x", "localhost/own/x:1"),
        ("registry:5000/own/x", "registry:5000/own/x:1"),
    ],
)
def test_images_are_relative_to_the_registry(image: str, whole: str) -> None:
    catalogue = with_container(image=image)
    assert str(catalogue.image(catalogue.containers[0], Version(name="1"))) == whole
