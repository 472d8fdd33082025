"""What hub and sessions tell over the wire, and what people ask about themselves."""

from __future__ import annotations

from typing_extensions import override

from canfar_spawner.core.authority import Action
from canfar_spawner.manager import reconcile
from canfar_spawner.manager.v1 import V1
from canfar_spawner.manager.wire import moment


class Events(V1):
    """The hub's messages."""

    @override
    async def post(self) -> None:
        """Take one, and give what the hub does not know yet."""
        self.tell_json(await self.manager.intake.events(self.json_body()))


class Heartbeats(V1):
    """What a session says of itself."""

    @override
    def post(self) -> None:
        """Take it."""
        self.manager.intake.heartbeat(self.caller, self.json_body())
        self.set_status(204)
        self.finish()


class Differences(V1):
    """What records, hub and back end do not agree on."""

    @override
    async def get(self) -> None:
        """Compare them now; nothing is changed."""
        self.tell_json(reconcile.as_json(await self.manager.reconciler.look()))


class Refused(V1):
    """Creates that came to nothing."""

    @override
    def get(self) -> None:
        """List those of the last day, the newest first."""
        self.demand(Action.LIST)
        self.tell_json(
            [
                {
                    **refusal.model_dump(mode="json", exclude={"owner"}),
                    "at": moment(refusal.at),
                }
                for refusal in self.manager.refusals.of(self.caller.name)
            ]
        )


class Notices(V1):
    """Warnings that an end is near."""

    @override
    def get(self) -> None:
        """List those that count now."""
        self.demand(Action.LIST)
        self.tell_json(
            [
                {
                    "session": notice.session,
                    "name": notice.name,
                    "ends": moment(notice.ends),
                    "before": notice.before,
                    "sentence": notice.sentence,
                }
                for notice in self.manager.lifetimes.notices(self.caller.name)
            ]
        )
