"""The images are built from what is said here, under the names that the catalogue has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.support.cluster.images import _ours as images

ROOT = Path(__file__).parents[2]


def folder(name: str) -> Path:
    return ROOT / "images" / images.IMAGES[name].folder


def dockerfile(name: str) -> str:
    return (folder(name) / "Dockerfile").read_text()


def test_the_catalogue_recommends_the_versions_that_are_built() -> None:
    site = yaml.safe_load((ROOT / "hub_config" / "catalogue.yaml").read_text())
    containers = {each["image"]: each for each in site["catalogue"]["containers"]}
    for image in images.IMAGES.values():
        container = containers.get(f"{images.PROJECT}/{image.folder}")
        if container is None:
            continue
        versions = {each["name"]: bool(each.get("recommended")) for each in container["versions"]}
        # What is a variant of another image is there for whoever chooses it.
        assert versions[image.version] is (image.variant_of is None), image.name
        assert sum(versions.values()) == 1, image.name
        kinds = re.search(r'hub\.canfar\.net/kinds="([^"]*)"', dockerfile(image.name))
        assert kinds is not None
        assert kinds[1].split(",") == container["kinds"]


def test_an_image_is_made_from_nothing_but_its_sources() -> None:
    for image in images.IMAGES.values():
        copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile(image.name), re.MULTILINE)
        named = {source for line in copied for source in line.split()}
        named.discard("images/notebook/overrides.json")
        # One whose folder has nothing to copy is still made from its Dockerfile.
        named.add(f"images/{image.folder}")
        assert named == set(image.sources), image.name


def test_every_folder_is_an_image_that_is_built_and_described() -> None:
    folders = {path.parent.name for path in (ROOT / "images").glob("*/Dockerfile")}
    assert folders == {image.folder for image in images.IMAGES.values()}
    readme = (ROOT / "images" / "README.md").read_text()
    described = set(re.findall(r"^\| `([a-z]+)` \| \w", readme, re.MULTILINE))
    # The proxy is for one machine only.
    assert described == folders | {"proxy"}


@pytest.mark.parametrize("name", images.IMAGES)
def test_an_image_says_what_it_is_and_gives_up_the_rights_of_root(name: str) -> None:
    text = dockerfile(name)
    for label in ("title", "description", "licenses", "vendor", "version"):
        assert f"org.opencontainers.image.{label}=" in text
    assert re.search(r"^ARG BASE_IMAGE=\S+$", text, re.MULTILINE)
    last = text[text.rindex("\nFROM ") :]
    users = re.findall(r"^USER (\d+):(\d+)$", last, re.MULTILINE)
    assert users[-1] != ("0", "0")
    # Nothing that came with a base or a package runs with somebody else's rights.
    if images.IMAGES[name].on is None or "apt-get" in last:
        assert "find / -xdev -type f -perm /6000 -exec chmod a-s {} +" in text
    assert "<<" not in text
    assert (folder(name) / "tests" / "smoke.py").exists()


def test_each_package_for_astronomy_does_a_piece_of_work() -> None:
    lines = (ROOT / "images/astroml/requirements.txt").read_text().splitlines()
    packages = {line for line in lines if not line.startswith(("#", "-"))}
    text = (ROOT / "images/astroml/tests/smoke.py").read_text()
    imported = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
    assert {name.replace("scikit-learn", "sklearn") for name in packages} <= imported


def test_an_image_whose_base_is_out_of_reach_is_left_out_and_the_others_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = tmp_path / "buildah"
    tool.write_text(
        '#!/bin/sh\ncase "$*" in *far.example.org*) exit 125;; esac\necho "$*" >> "$0.log"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    known = {
        "carta": images.Image("carta", "1", (), base="far.example.org/base"),
        "notebook": images.Image("notebook", "1", ()),
        "marimo": images.Image("marimo", "1", (), on="notebook"),
    }
    monkeypatch.setattr(images, "IMAGES", known)
    assert images.main([]) == 0
    built = re.findall(
        r"--tag localhost/canfar-hub/(\w+):1", (tmp_path / "buildah.log").read_text()
    )
    assert built == ["notebook", "marimo"]
    assert "carta takes far.example.org/base" in capsys.readouterr().err
    # Who asks for it is told so by the status.
    assert images.main(["carta"]) == 1


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
