"""Sharing over the wire; `canfar_spawner.manager.v1_shares` knows what is answered."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from canfar_spawner.manager.v1 import V1
from canfar_spawner.manager.v1_shares import SharingDesk
from canfar_spawner.portal.language import preferred, speak

LATER: Final = (
    "The hub does not answer now. Nobody new comes in by it, and who was let in is out as soon as"
    " the hub answers.\n"
)


class Sharing(V1):
    """What is about sharing."""

    desk: SharingDesk

    @override
    async def prepare(self) -> None:
        speak(preferred(self.request.headers.get("Accept-Language", "")))
        await super().prepare()
        self.desk = SharingDesk(self.manager)

    def taken_away(self, *, done: bool) -> None:
        """Say that something was taken away, or will be."""
        if done:
            self.set_status(204)
            self.finish()
        else:
            self.tell(LATER, 202)


class Overview(Sharing):
    """All of a session's sharing."""

    @override
    def get(self, session: str) -> None:
        """Tell it."""
        self.tell_json(self.desk.overview(self.caller, session))


class Shares(Sharing):
    """The shares of a session."""

    @override
    def get(self, session: str) -> None:
        """List them."""
        self.tell_json(self.desk.shares(self.caller, session))

    @override
    async def post(self, session: str) -> None:
        """Share it."""
        self.tell_json(await self.desk.share(self.caller, session, self.json_body()), 201)

    @override
    async def delete(self, session: str) -> None:
        """Take everything away, or what one person has."""
        user = self.word("user")
        self.taken_away(done=await self.desk.revoke(self.caller, session, user=user))


class OneShare(Sharing):
    """One share."""

    @override
    async def delete(self, session: str, share: str) -> None:
        """Take it away."""
        self.taken_away(done=await self.desk.revoke(self.caller, session, share=share))


class Visitors(Sharing):
    """Who may enter a session and who is in it."""

    @override
    def get(self, session: str) -> None:
        """List them."""
        self.tell_json(self.desk.visitors(self.caller, session))


class Audit(Sharing):
    """What happened to a session's sharing."""

    @override
    async def get(self, session: str) -> None:
        """List it."""
        self.tell_json(await self.desk.audit(self.caller, session))


class SharedWithMe(Sharing):
    """Sessions of others."""

    @override
    def get(self) -> None:
        """List those that the caller may enter."""
        self.tell_json(self.desk.shared(self.caller))


class SharedOne(Sharing):
    """One session of somebody else's."""

    @override
    async def delete(self, owner: str, session: str) -> None:
        """Give up one's access."""
        self.taken_away(done=await self.desk.leave(self.caller, owner, session))


class Links(Sharing):
    """Links to sessions of others."""

    @override
    async def post(self) -> None:
        """Take one up."""
        self.tell_json(await self.desk.join(self.caller, self.json_body()))
