"""The images of the test cluster, built once and kept where its registries serve them from.

``python3 -m tests.support.cluster.images NAME…`` builds what is missing. Run it outside of the
cluster's namespaces: building needs the network, and nothing of the cluster. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from canfar_spawner.local.environments import ROOT, cache
from tests.support.cluster.cluster import Cluster, ctr
from tests.support.cluster.programs import ClusterError, locked, prepare, program

REGISTRY = "registry.example.org"
"""What images are called after; the cluster sends this name to its own registry."""
_SUITE = "bookworm"
_FORMAT = "1"
"""Changed when the way of building changes."""
BASE = f"localhost/canfar-debian:{_SUITE}-{_FORMAT}"
"""Debian as our images begin with it here; a site takes the public one."""
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_FOR_TESTS = {
    "probe": (
        "tests/support/probe.py",
        "tests/support/cluster/probe/Dockerfile",
        "tests/support/cluster/probe/serve.py",
    ),
    "hostile": ("tests/support/cluster/hostile/Dockerfile",),
    "webfs": ("tests/support/cluster/webfs/Dockerfile",),
}
"""The sources of the images that are for tests only."""
_ON = {"hostile": "probe"}
"""Those that are built on another one."""
_VERSION = "1"
_PACKAGES = ("buildah", "mmdebstrap")
_HEX = "[0-9a-f]"
_START_SECONDS = 20

Report = Callable[[str], None]


def _load_builder() -> ModuleType:
    """Load the project's own builder, which is a program and in no package."""
    specification = importlib.util.spec_from_file_location(
        "canfar_images", ROOT / "images" / "build.py"
    )
    if specification is None or specification.loader is None:
        raise AssertionError(ROOT)
    module = importlib.util.module_from_spec(specification)
    # Where dataclasses look for what an annotation means.
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


_ours = _load_builder()
NAMES = (
    *(name for name, image in _ours.IMAGES.items() if image.base is None),
    *_FOR_TESTS,
)
"""Those that are built on a public image are not to be had here."""


def registry_directory() -> Path:
    """Give the directory that the registries of the cluster serve."""
    return cache() / "cluster" / "registry"


def directory() -> Path:
    """Give the directory of what is built here, beside the registry."""
    return cache() / "cluster" / "images"


def reference(name: str) -> str:
    """Give what pods call an image."""
    if name in _FOR_TESTS:
        return f"{REGISTRY}/{_ours.PROJECT}/{name}:{_VERSION}"
    return str(_ours.reference(name, REGISTRY))


def _digest(name: str) -> str:
    if name not in _FOR_TESTS:
        return str(_ours.digest(name, BASE))
    total = hashlib.sha256((_digest(_ON[name]) if name in _ON else BASE).encode())
    for source in _FOR_TESTS[name]:
        total.update((ROOT / source).read_bytes())
    return total.hexdigest()[:12]


def _marker(name: str, digest: str) -> Path:
    return directory() / "pushed" / f"{name}-{digest}"


def is_ready(name: str) -> bool:
    """Say whether an image as its sources are now is in the registry."""
    return _marker(name, _digest(name)).exists()


def _make_base(log: Path) -> None:
    """Make the base image from Debian's packages: the public one need not be within reach."""
    marker = directory() / "storage" / f".{_SUITE}-{_FORMAT}"
    if marker.exists():
        return
    with tempfile.TemporaryDirectory(prefix="canfar-base-") as place, log.open("a") as output:
        archive = Path(place) / "base.tar"
        command = ["mmdebstrap", "--variant=minbase", "--include=ca-certificates", _SUITE]
        done = subprocess.run(
            [*command, archive], stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
        if done.returncode != 0:
            raise ClusterError(f"Debian's base could not be made; see {log}.")
        (Path(place) / "Dockerfile").write_text('FROM scratch\nADD base.tar /\nCMD ["bash"]\n')
        builder = replace(_builder(), output=output)
        # Without layers some versions of buildah take no option to remove what a build leaves.
        builder.run("build", *builder.build_options, "--layers", "--tag", BASE, place)
    marker.touch()


def _builder() -> _ours.Builder:
    missing = [name for name in _PACKAGES if shutil.which(name) is None]
    if missing:
        raise ClusterError(
            f"{' and '.join(missing)} missing, for the images of the test cluster. Get them with:"
            f" apt-get install {' '.join(_PACKAGES)}"
        )
    storage = directory()
    return _ours.Builder(
        shutil.which("buildah"),
        ("--root", str(storage / "storage"), "--runroot", str(storage / "run")),
        # In a container or a small virtual machine there may be no more than a chroot to be had.
        ("--isolation", "chroot", "--network", "host", "--force-rm"),
        certificates=_CERTIFICATES if _CERTIFICATES.exists() else None,
    )


def _build_for_tests(name: str, builder: _ours.Builder) -> None:
    base = reference(_ON[name]) if name in _ON else BASE
    with tempfile.TemporaryDirectory(prefix=f"canfar-{name}-") as place:
        for source in _FOR_TESTS[name]:
            shutil.copy(ROOT / source, place)
        context = Path(place)
        builder.build(context / "Dockerfile", context, reference(name), base, _VERSION)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def _registry() -> Iterator[str]:
    """Serve the registry's directory on this machine while something is pushed; gives the address."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{chosen.getsockname()[1]}"
    registry_directory().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="canfar-registry-") as place:
        settings = Path(place) / "registry.yaml"
        settings.write_text(
            "version: 0.1\n"
            "log: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {registry_directory()}}}}}\n"
            f"http: {{addr: '{address}'}}\n"
        )
        with (Path(place) / "log").open("w") as log:
            process = subprocess.Popen(
                [program("registry"), "serve", settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"OTEL_TRACES_EXPORTER": "none"},
            )
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not _answers(address):
                if process.poll() is not None or time.monotonic() > deadline:
                    told = (Path(place) / "log").read_text()[-1000:]
                    raise ClusterError(f"The registry did not start: {told}")
                time.sleep(0.05)
            yield address
        finally:
            process.terminate()
            process.wait()


def _push(builder: _ours.Builder, name: str) -> None:
    with _registry() as address:
        builder.run(
            "push",
            "--tls-verify=false",
            # It stays on this machine, where packing is what takes the time.
            "--compression-level",
            "1",
            reference(name),
            f"docker://{reference(name).replace(REGISTRY, address, 1)}",
        )


def _build(name: str, log: Path) -> None:
    with log.open("w") as output:
        builder = replace(_builder(), output=output)
        try:
            if name in _FOR_TESTS:
                _build_for_tests(name, builder)
            else:
                _ours.build_one(name, builder, REGISTRY, BASE)
            _push(builder, name)
        except _ours.ImageError as error:
            output.flush()
            tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-15:])
            raise ClusterError(f"{error} The end of {log}:\n  {tail}") from None


def in_registry(name: str) -> str:
    """Give the digest that the registry has for an image, or nothing."""
    _host, project, last = reference(name).split("/")
    last, tag = last.split(":")
    link = f"docker/registry/v2/repositories/{project}/{last}/_manifests/tags/{tag}/current/link"
    try:
        return (registry_directory() / link).read_text().strip()
    except FileNotFoundError:
        return ""


def _forget_old(names: Sequence[str]) -> None:
    """Make the node of a running cluster pull again what was built anew under the same name."""
    try:
        cluster = Cluster.load()
    except ClusterError:
        return
    client = ctr(cluster.containerd)
    lines = cluster.command(*client, "images", "list").splitlines()[1:]
    # Name, type and digest come first.
    on_node = {words[0]: words[2] for words in map(str.split, lines)}
    for name in names:
        if on_node.get(reference(name), in_registry(name)) != in_registry(name):
            cluster.command(*client, "images", "remove", "--sync", reference(name))


def ensure(names: Sequence[str], report: Report) -> None:
    """Build and push the images that are missing or were made from something else.

    Call it when the cluster is running: what its node has under the same name from before is
    removed there, so that the next pod gets the new one.

    Parameters
    ----------
    names : sequence of str
        Of `NAMES`.
    report : callable
        Takes a line for the person who waits.

    Raises
    ------
    ClusterError
        A program is missing, or a step failed; says what to do.
    """
    if not all(is_ready(name) for name in names):
        _build_missing(names, report)
    _forget_old(names)


def _build_missing(names: Sequence[str], report: Report) -> None:
    ours = _ours.wanted([name for name in names if name in _ours.IMAGES])
    prepare(["registry"], report)
    with locked("images", report):
        logs = cache() / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        (directory() / "pushed").mkdir(parents=True, exist_ok=True)
        below = {_ON.get(name) for name in names}
        others = [name for name in _FOR_TESTS if name in names or name in below]
        missing = [*ours, *others]
        missing = [name for name in missing if not is_ready(name)]
        report(f"images of the test cluster: {', '.join(missing)}")
        _ours.prepare_pages(missing)
        _make_base(logs / "image-base.log")
        for name in missing:
            # What it is made from may change while it is being built.
            digest = _digest(name)
            started = time.monotonic()
            _build(name, logs / f"image-{name}.log")
            for old in (directory() / "pushed").glob(f"{name}-{_HEX * 12}"):
                old.unlink()
            _marker(name, digest).touch()
            report(f"{reference(name)} is in the registry after {time.monotonic() - started:.0f} s")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.support.cluster.images", description=__doc__
    )
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(NAMES))
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there is no image {min(unknown)}; there are {', '.join(NAMES)}")
    try:
        ensure(arguments.names, lambda line: print(line, file=sys.stderr, flush=True))
    except (ClusterError, _ours.ImageError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
