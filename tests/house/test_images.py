"""The images are built from what is said here, under the names that the catalogue has."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.support.cluster.images import _ours as images

ROOT = Path(__file__).parents[2]


def dockerfile(name: str) -> str:
    return (ROOT / "images" / name / "Dockerfile").read_text()


def test_the_catalogue_recommends_the_versions_that_are_built() -> None:
    site = yaml.safe_load((ROOT / "hub_config" / "catalogue.yaml").read_text())
    containers = {each["image"]: each for each in site["catalogue"]["containers"]}
    for image in images.IMAGES.values():
        container = containers.get(f"{images.PROJECT}/{image.name}")
        if container is None:
            continue
        recommended = [each["name"] for each in container["versions"] if each.get("recommended")]
        assert recommended == [image.version], image.name
        kinds = re.search(r'hub\.canfar\.net/kinds="([^"]*)"', dockerfile(image.name))
        assert kinds is not None
        assert kinds[1].split(",") == container["kinds"]


def test_an_image_is_made_from_nothing_but_its_sources() -> None:
    for image in images.IMAGES.values():
        copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile(image.name), re.MULTILINE)
        named = {source for line in copied for source in line.split()}
        named.discard("images/notebook/overrides.json")
        assert named == set(image.sources), image.name


def test_every_image_says_what_it_is_and_gives_up_the_rights_of_root() -> None:
    for name in images.IMAGES:
        text = dockerfile(name)
        for label in ("title", "description", "licenses", "vendor", "version"):
            assert f"org.opencontainers.image.{label}=" in text, name
        users = re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
        assert users[-1] != ("0", "0"), name
        assert "<<" not in text, name
        assert (ROOT / "images" / name / "tests" / "smoke.py").exists()


def test_images_are_installed_with_one_version_of_the_installer() -> None:
    versions = {
        version
        for name in images.IMAGES
        for version in re.findall(r"^ARG UV_VERSION=(\S+)$", dockerfile(name), re.MULTILINE)
    }
    assert len(versions) == 1, versions


def test_accounts_and_pages_sources_stay_out_of_images() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert not [line for line in lines if line.startswith("!hub_config")]
