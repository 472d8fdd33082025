# ruff: noqa: INP001 - a program beside the images, not a package
"""Building and pushing the images: ``python3 images/build.py --registry registry.example.org``.

Standard library only. Takes buildah, podman or docker, whichever is there.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "canfar-hub"
"""Where our images are in a registry."""
BASE = "docker.io/library/debian:bookworm-slim"
TOOLS = ("buildah", "podman", "docker")
_THIS_MACHINE = {"localhost", "127.0.0.1"}
_NOT_MEANT = {"__pycache__", "lib", "src", "tests"}

Report = Callable[[str], None]


class ImageError(Exception):
    """An image could not be built or pushed; says why and what to do."""


@dataclass(frozen=True)
class Image:
    """One image and what it is made from."""

    name: str
    version: str
    sources: tuple[str, ...]
    on: str | None = None
    """The image of ours that it is built on."""
    base: str | None = None
    """The public image that it is built on, where that is not Debian 12: with the packages that
    only its own makers give out. It has to be within reach."""
    variant_of: str | None = None
    """The image whose Dockerfile it is, on another base, and whose name it has in a registry."""

    @property
    def folder(self) -> str:
        """Where its Dockerfile is, which is its name in a registry too."""
        return self.variant_of or self.name


def _project_version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


_SHARED = ("constraints.txt", "images/install.sh")
IMAGES = {
    each.name: each
    for each in (
        Image(
            "notebook",
            "26.11",
            (
                *_SHARED,
                "images/notebook",
                "labextension",
            ),
        ),
        Image("astroml", "26.11", (*_SHARED, "images/astroml"), on="notebook"),
        Image("casa", "6.7", (*_SHARED, "images/casa"), on="notebook"),
        Image("marimo", "26.11", (*_SHARED, "images/marimo"), on="notebook"),
        Image("webterminal", "26.11", ("images/webterminal",), on="notebook"),
        Image("desktop", "26.11", ("images/desktop",)),
        Image("desktop-casa", "26.11-casa", ("images/desktop",), on="casa", variant_of="desktop"),
        Image("carta", "5.1", ("images/carta",), base="docker.io/library/ubuntu:24.04"),
        Image("firefly", "2025.5", ("images/firefly",), base="docker.io/ipac/firefly:2025.5"),
        Image(
            "hub",
            _project_version(),
            (
                *_SHARED,
                "images/hub",
                "pyproject.toml",
                "LICENSE",
                "README.md",
                "canfar_spawner",
            ),
        ),
        Image(
            "gateway",
            _project_version(),
            (
                *_SHARED,
                "images/gateway",
                "pyproject.toml",
                "LICENSE",
                "README.md",
                "canfar_spawner/__init__.py",
                "canfar_spawner/core",
                "canfar_spawner/gateway",
                "labextension/canfar_lab",
            ),
        ),
    )
}
"""In the order in which they are built."""


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for entry in sorted(path.iterdir()) if path.is_dir() else ():
        if entry.name not in _NOT_MEANT:
            yield from _files(entry)


def digest(name: str, base: str = BASE) -> str:
    """Give twelve hexadecimal digits of everything an image is made from."""
    image = IMAGES[name]
    total = hashlib.sha256(repr((name, image.version)).encode())
    total.update((digest(image.on, base) if image.on else image.base or base).encode())
    for source in image.sources:
        for file in _files(ROOT / source):
            total.update(f"\0{file.relative_to(ROOT)}\0".encode())
            total.update(file.read_bytes())
    return total.hexdigest()[:12]


def reference(name: str, registry: str) -> str:
    """Give what an image is called in a registry."""
    image = IMAGES[name]
    return f"{registry}/{PROJECT}/{image.folder}:{image.version}"


@dataclass(frozen=True)
class Builder:
    """One of the programs that build images."""

    program: str
    options: tuple[str, ...] = ()
    """Said before every command, such as where images are kept."""
    build_options: tuple[str, ...] = ()
    push_options: tuple[str, ...] = ()
    certificates: Path | None = None
    """Authorities to trust while building, beyond those that Debian has."""
    output: IO[str] | None = field(default=None, compare=False)
    """Where the programs write; the terminal otherwise."""

    @classmethod
    def found(cls, wanted: str | None, certificates: Path | None = None) -> Builder:
        """Give the one that is asked for, else the first that is there.

        Raises
        ------
        ImageError
            There is none.
        """
        for name in [wanted] if wanted else TOOLS:
            program = shutil.which(name)
            if program is not None:
                return cls(program, certificates=certificates)
        raise ImageError(
            f"{wanted or 'None of buildah, podman and docker'} is on this machine; install buildah."
        )

    def run(self, *words: str) -> None:
        """Run one command to its end.

        Raises
        ------
        ImageError
            It failed; what it wrote says why.
        """
        done = subprocess.run(
            [self.program, *self.options, *words],
            cwd=ROOT,
            # BuildKit is what understands secrets in older versions of docker.
            env=os.environ | {"DOCKER_BUILDKIT": "1"},
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
            check=False,
        )
        if done.returncode != 0:
            raise ImageError(
                f"{Path(self.program).name} {words[0]} failed with status {done.returncode}."
            )

    def build(self, file: Path, context: Path, tag: str, base: str, version: str) -> None:
        """Build one image."""
        words = [*self.build_options, "--file", str(file), "--tag", tag]
        words += ["--build-arg", f"BASE_IMAGE={base}", "--build-arg", f"VERSION={version}"]
        if Path(self.program).name == "buildah":
            # Otherwise it repeats every step of a Dockerfile, changed or not.
            words.append("--layers")
        if self.certificates is not None:
            words += ["--secret", f"id=certificates,src={self.certificates}"]
        self.run("build", *words, str(context))

    def push(self, tag: str) -> None:
        """Push one image to the registry that its name begins with."""
        options = list(self.push_options)
        here = urlsplit(f"//{tag}").hostname in _THIS_MACHINE
        if here and Path(self.program).name != "docker":
            # As docker does without being told: a registry on this machine has no certificate.
            options.append("--tls-verify=false")
        self.run("push", *options, tag)


def build_one(name: str, builder: Builder, registry: str, base: str = BASE) -> str:
    """Build one image, on what there is of the one below it, and give its reference."""
    image = IMAGES[name]
    below = reference(image.on, registry) if image.on else image.base or base
    tag = reference(name, registry)
    builder.build(ROOT / "images" / image.folder / "Dockerfile", ROOT, tag, below, image.version)
    return tag


def wanted(names: Sequence[str]) -> list[str]:
    """Give images and those that they are built on, in the order in which to build them."""
    found = set(names)
    while below := {on for name in found if (on := IMAGES[name].on)} - found:
        found |= below
    return [name for name in IMAGES if name in found]


BROWSERS_SIDE = {"hub": "portal", "gateway": "portal", "notebook": "lab"}
"""What of an image is for browsers, and is built before it."""


def prepare_pages(names: Iterable[str]) -> None:
    """Build what some images have for browsers.

    Raises
    ------
    ImageError
        It could not be built.
    """
    needed = sorted({BROWSERS_SIDE[name] for name in names if name in BROWSERS_SIDE})
    if not needed:
        return
    command = [sys.executable, "-m", "canfar_spawner.local.build", "prepare", *needed]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise ImageError("What the images have for browsers could not be built.")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    parser = argparse.ArgumentParser(prog="images/build.py", description=__doc__)
    parser.add_argument("--registry", help="push there; without it images stay on this machine")
    parser.add_argument("--base", default=BASE, help="Debian 12, where it is not Docker Hub's")
    parser.add_argument("--tool", choices=TOOLS, help="what to build with")
    parser.add_argument("--certificates", type=Path, help="authorities to trust while building")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(IMAGES)}")
    arguments = parser.parse_args(argv)
    for name in arguments.names:
        if name not in IMAGES:
            parser.error(f"there is no image {name}; there are {', '.join(IMAGES)}")
    names = wanted(arguments.names or list(IMAGES))
    left_out: list[str] = []
    try:
        builder = Builder.found(arguments.tool, arguments.certificates)
        prepare_pages(names)
        for step, name in enumerate(names, start=1):
            _say(f"step {step} of {len(names)}: {name}")
            try:
                tag = build_one(name, builder, arguments.registry or "localhost", arguments.base)
            except ImageError as error:
                image = IMAGES[name]
                if image.base is None or name in arguments.names:
                    raise
                _say(f"{error} {name} takes {image.base}, which may be out of reach; going on.")
                left_out.append(name)
                continue
            if arguments.registry:
                builder.push(tag)
            _say(f"{tag} is {'pushed' if arguments.registry else 'built'}")
    except ImageError as error:
        _say(str(error))
        return 1
    if left_out:
        _say(f"all but {', '.join(left_out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
