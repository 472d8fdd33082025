"""Storage over the wire: how full homes and projects are, what an end would wipe."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from canfar_spawner.core.authority import Action
from canfar_spawner.core.filling import Filling
from canfar_spawner.manager.storage import lost_words
from canfar_spawner.manager.v1 import V1
from canfar_spawner.manager.wire import moment


def filling_json(found: Filling) -> dict[str, Any]:
    """Write how much of a home or project is taken."""
    return {
        **found.model_dump(mode="json"),
        "at": moment(found.at) if found.at is not None else None,
    }


class Storage(V1):
    """One's home and projects."""

    @override
    async def get(self) -> None:
        """Tell how full they are, as far as that is known."""
        self.demand(Action.LIST)
        found = await self.manager.storage.of(self.caller.name)
        self.tell_json([filling_json(each) for each in found])


class ScratchOf(V1):
    """What a session keeps in scratch."""

    @override
    async def get(self, session: str) -> None:
        """Count it, or tell what the session told last."""
        record = self.record(session, Action.EXTEND)
        found = await self.manager.storage.scratch(record) if record.interactive else None
        self.tell_json(
            {
                "known": found is not None,
                "files": found.files if found else 0,
                "bytes": found.bytes if found else 0,
                "complete": found.complete if found else False,
                "sentence": lost_words(found),
            }
        )
