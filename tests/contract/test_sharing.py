"""Sharing a session of JupyterLab: on this machine, and on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from typing_extensions import override

from tests.contract.sharing import Shared, SharingContract
from tests.support.guest import Socket, execute, type_in
from tests.support.hub import Visitor
from tests.support.lab import launch_lab

pytestmark = pytest.mark.environment("notebook")


@dataclass
class SharedLab(Shared):
    """A session of JupyterLab: a terminal and a kernel."""

    @override
    async def sockets(self, visitor: Visitor) -> dict[str, tuple[str, Socket]]:
        guest = self.as_(visitor)
        return {"terminal": await guest.terminal(), "kernel": await guest.kernel()}

    @override
    async def alive(self, kind: str, socket: Socket) -> None:
        await (type_in if kind == "terminal" else execute)(socket)


@pytest.fixture(scope="module")
def shared(ada: Visitor, ben: Visitor, admin: Visitor) -> Iterator[Shared]:
    launch_lab(ada, "sharing1", container="notebook")
    yield SharedLab(ada, ben, admin, "sharing1")
    ada.stop("sharing1")


class TestLab(SharingContract):
    """JupyterLab, whose visitors its own extension watches."""
