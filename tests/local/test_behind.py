"""Which programs behind a gateway one machine offers, and where they listen."""

from __future__ import annotations

import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from canfar_spawner.core.errors import NotAllowed
from canfar_spawner.local import gateway
from canfar_spawner.local import programs as local_programs
from canfar_spawner.local.backend import LocalBackend
from canfar_spawner.local.isolation import Isolation
from canfar_spawner.local.offers import serves_others
from canfar_spawner.local.programs import find
from canfar_spawner.site.users_file import Users
from tests.local.world import World, policy
from tests.support.hub import wait_for

ONE = {"users": {"ada": {"uid": 20001}}}


@pytest.fixture
def quiet(base: Path) -> World:
    """A back end in which nothing is started."""
    return World(base / "data", Isolation(kind="none", reason=""))


def serving(world: World, *, others: bool) -> LocalBackend:
    return LocalBackend(
        world.backend.launcher, policy=lambda: world.policy, gids=dict, others=lambda: others
    )


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("open_ports", [False, True])
def test_a_port_is_told_of_and_offered_to_whom_it_may_be(
    quiet: World, *, others: bool, open_ports: bool
) -> None:
    quiet.policy = policy(machine={"open_ports": open_ports})
    backend = serving(quiet, others=others)
    by_name = {each.name: each for each in quiet.policy.catalogue.containers}
    safe, exposed = backend.offer(by_name["socketed"]), backend.offer(by_name["ported"])
    assert (safe.available, safe.notice) == (True, "")
    assert exposed.available == (open_ports or not others)
    assert ("port of this machine" in exposed.notice) == exposed.available
    assert backend.offer(by_name["runs"]).notice == "", "it is nobody's but the hub's own"
    plan = quiet.plan("ported")
    if exposed.available:
        backend.accepts(plan)
    else:
        assert "other users of this machine could reach" in exposed.reason
        with pytest.raises(NotAllowed) as refused:
            backend.accepts(plan)
        assert refused.value.sentence == exposed.reason


@pytest.fixture
def programs(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the programs of the kinds that have one of their own on this machine."""
    place = base / "programs" / "bin"
    place.mkdir(parents=True)
    for name in ("canfar-desktop", "carta_backend"):
        (place / name).write_text("#!/bin/sh\n")
        (place / name).chmod(0o755)
    monkeypatch.delenv("CANFAR_CARTA", raising=False)
    monkeypatch.setattr(local_programs, "SYSTEM_PATH", f"{place}:{local_programs.SYSTEM_PATH}")


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("open_ports", [False, True])
@pytest.mark.parametrize(
    ("name", "kinds"),
    [("ported-second", ("headless", "contributed")), ("screens", ("desktop", "carta"))],
)
def test_of_several_kinds_the_one_that_takes_a_port_is_told_of_or_refused(
    quiet: World, name: str, kinds: tuple[str, str], *, others: bool, open_ports: bool
) -> None:
    quiet.policy = policy(machine={"open_ports": open_ports})
    backend = serving(quiet, others=others)
    (container,) = (each for each in quiet.policy.catalogue.containers if each.name == name)
    allowed = open_ports or not others
    offer = backend.offer(container)
    assert offer.available
    assert ("port of this machine" in offer.notice) == allowed
    assert offer.narrowed(container).kinds == (kinds if allowed else kinds[:1])
    backend.accepts(quiet.plan(name))
    backend.accepts(quiet.plan(name, kind=kinds[0]))
    exposed = quiet.plan(name, kind=kinds[1])
    if allowed:
        backend.accepts(exposed)
    else:
        with pytest.raises(NotAllowed, match="other users of this machine could reach"):
            backend.accepts(exposed)


def test_what_pages_would_launch_decides_what_they_offer(quiet: World) -> None:
    backend = serving(quiet, others=True)
    by_name = {each.name: each for each in quiet.policy.catalogue.containers}
    for name in ("ported-first", "ported-always"):
        offer = backend.offer(by_name[name])
        assert not offer.available
        assert "other users of this machine could reach" in offer.reason
    for name, kind in (
        ("ported-first", "contributed"),
        ("ported-always", "contributed"),
        ("ported-always", "firefly"),
    ):
        with pytest.raises(NotAllowed, match="other users of this machine could reach"):
            backend.accepts(quiet.plan(name, kind=kind))
    backend.accepts(quiet.plan("ported-first", kind="headless"))


@pytest.mark.usefixtures("programs")
def test_a_kind_without_a_program_takes_no_port(quiet: World) -> None:
    by_name = {each.name: each for each in quiet.policy.catalogue.containers}
    offer = quiet.backend.offer(by_name["screen"])
    assert (offer.available, offer.notice) == (True, "")
    with pytest.raises(NotAllowed, match="has no local program"):
        quiet.backend.accepts(quiet.plan("screen", kind="contributed"))


def test_whom_a_hub_serves_is_said_by_its_users_file() -> None:
    assert serves_others(Users.model_validate(ONE))
    assert not serves_others(Users.model_validate({**ONE, "demo": True}))


def test_a_program_may_be_named_by_a_variable(
    quiet: World, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = {each.name: each for each in quiet.policy.catalogue.containers}
    viewer = by_name["viewer"]
    monkeypatch.delenv("CANFAR_CARTA", raising=False)
    absent = quiet.backend.offer(viewer)
    assert not absent.available
    assert absent.reason == "carta_backend is not installed on this machine."
    assert absent.command == "apt-get install it"
    program = base / "carta" / "bin" / "carta-of-ours"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for value, available in ((str(program), True), (f"{program}-not", False), ("bin/x", False)):
        monkeypatch.setenv("CANFAR_CARTA", value)
        assert quiet.backend.offer(viewer).available == available, value
    monkeypatch.setenv("CANFAR_CARTA", str(program))
    plan = quiet.plan("viewer")
    assert viewer.local is not None
    found = find(viewer.local, plan.kind, plan.entry)
    assert found is not None
    assert found.argv[0] == str(program)
    assert "{port}" in found.argv, "where it listens is not decided yet"
    assert found.roots == (str(base / "carta"),)


async def test_a_socket_has_a_short_path_wherever_the_data_lie(
    base: Path, isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a view of its own it needs a hub's software that every user may run.
    monkeypatch.setattr(gateway, "gateway_argv", lambda: ["/bin/sleep", "1000"])
    deep = base / ("d" * 50) / ("e" * 50)
    deep.mkdir(parents=True)
    world = World(deep / "data", replace(isolation, kind="uids"))
    try:
        plan = await world.start("socketed")
        directory = gateway.short_directory(plan.launch)
        path = directory / "app.sock"
        wait_for(path.exists, "the program to listen")
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert directory.stat().st_uid == path.stat().st_uid == plan.identity.uid
        with socket.socket(socket.AF_UNIX) as trial:
            trial.connect(str(path))
            trial.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert trial.recv(100).startswith(b"HTTP/1.")
        await world.backend.stop(plan.launch)
        assert not directory.exists()
    finally:
        world.clear()
