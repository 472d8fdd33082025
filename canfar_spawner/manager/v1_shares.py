"""Sharing by the API: who asks, for what, and what is answered.

A visitor's token, and that of a session itself, share nothing and speak for nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from canfar_spawner.core.authority import Action
from canfar_spawner.core.errors import Invalid, NotAllowed, NotYours, listing, shown
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.sharing import MOST_BY_LINK
from canfar_spawner.core.times import utc
from canfar_spawner.manager.callers import Caller
from canfar_spawner.manager.links import Invitation
from canfar_spawner.manager.people import groups_with_others
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.shares import Line, Share, Terms
from canfar_spawner.manager.sharing_words import happened, lengths, title
from canfar_spawner.manager.v1 import NotFound
from canfar_spawner.manager.wire import moment
from canfar_spawner.portal.language import say
from canfar_spawner.portal.sharing import ONE_DOMAIN, SHARING_MEANS

if TYPE_CHECKING:
    from canfar_spawner.manager.service import Manager

WAYS: Final = ("user", "group", "link")
WORDS: Final = (*WAYS, "until", "people", "storage")
_NOBODY: Final = "This token speaks for one session, and not for you. Use one of your own."


def share_json(share: Share, lets_in: tuple[str, ...]) -> dict[str, Any]:
    """Write a share."""
    return {
        "id": share.id,
        "how": share.how.value,
        "whom": share.whom,
        "title": title(share),
        "until": moment(share.until),
        "made": moment(share.made),
        "by": share.by,
        "letsIn": list(lets_in),
        "linkUntil": moment(share.link_until) if share.link_until else None,
        "people": share.people if share.code else None,
        "storage": share.storage,
    }


def line_json(line: Line) -> dict[str, Any]:
    """Write one thing that happened."""
    return {
        "at": moment(line.at),
        "by": line.by,
        "deed": line.deed.value,
        "how": line.how.value if line.how else None,
        "whom": line.whom,
        "until": moment(line.until) if line.until else None,
        "text": happened(line),
    }


def read_until(value: object) -> datetime | None:
    """Read a time; raises Invalid where it is none."""
    if value is None:
        return None
    wrong = Invalid("until must be a time such as 2026-11-25T18:00:00Z.", field="until")
    if not isinstance(value, str) or len(value) > 40:
        raise wrong
    try:
        at = datetime.fromisoformat(value)
        known = utc(at)
    except ValueError:
        raise wrong from None
    if at.tzinfo is None:
        raise Invalid("until needs a time zone, as in 2026-11-25T18:00:00Z.", field="until")
    return known


class SharingDesk:
    """Answers calls about sharing.

    Parameters
    ----------
    manager : Manager
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._sharing = manager.sharing

    def _mine(self, caller: Caller, session: str) -> SessionRecord:
        """Give a session whose sharing the caller decides about.

        Raises
        ------
        NotFound
            She may not even see it, or it is not there.
        NotYours
            She may enter it, and no more.
        """
        record = self._manager.registry.get(session)
        if record is None or not caller.may(Action.SEE, record.owner, record.id):
            raise NotFound(session)
        if not caller.may(Action.SHARE, record.owner, record.id):
            raise NotYours("You may enter this session; only its owner decides who else may.")
        return record

    @staticmethod
    def _person(caller: Caller) -> str:
        """Give the name of whoever speaks for herself; raises NotYours."""
        if not caller.may(Action.LIST, caller.name):
            raise NotYours(_NOBODY)
        return caller.name

    # Of one's own sessions.

    def overview(self, caller: Caller, session: str) -> dict[str, Any]:
        """Tell all that whoever shares a session is shown, in one answer."""
        record, manager = self._mine(caller, session), self._manager
        policy, now = manager.policy().sharing, manager.clock()
        return {
            "session": record.id,
            "name": record.name,
            "ends": moment(record.ends),
            "now": moment(now),
            "open": record.live and record.ending is None and record.interactive,
            "off": self._sharing.off(),
            "means": say(SHARING_MEANS),
            "warning": "" if manager.settings.own_origins else say(ONE_DOMAIN),
            "groups": list(groups_with_others(manager.identities, record.owner)),
            "lengths": [
                {"hours": hours, "words": words}
                for hours, words in lengths(policy.longest, record.ends - now)
            ],
            "mostPeople": MOST_BY_LINK,
            "storage": KINDS[record.kind].panel,
            "shares": self.shares(caller, session),
            "visitors": self.visitors(caller, session),
        }

    def shares(self, caller: Caller, session: str) -> list[dict[str, Any]]:
        """List the shares of a session, the newest first."""
        record, sharing = self._mine(caller, session), self._sharing
        return [share_json(share, sharing.used_by(share)) for share in sharing.shares(record.id)]

    async def share(self, caller: Caller, session: str, body: object) -> dict[str, Any]:
        """Share a session; the address of a link is told this once."""
        record, sharing = self._mine(caller, session), self._sharing
        way, wanted = _wanted(body)
        terms = Terms(
            by=caller.name, until=read_until(wanted.get("until")), storage=_storage(wanted)
        )
        if way == "link":
            links = self._manager.links
            people = _people(wanted.get("people", 1))
            share, code = await links.make(record, terms, people=people)
            return {**share_json(share, ()), "url": links.url(code)}
        name = _name(wanted, way)
        if way == "user":
            share = await sharing.with_person(record, name, terms)
        else:
            share = await sharing.with_group(record, name, terms)
        return share_json(share, sharing.used_by(share))

    async def revoke(
        self, caller: Caller, session: str, *, share: str = "", user: str = ""
    ) -> bool:
        """Revoke one share, all that one person has, or everything.

        Returns
        -------
        bool
            False where the hub did not answer: it is done as soon as it does.
        """
        record, by = self._mine(caller, session), caller.name
        if share:
            return await self._sharing.revoke(record.id, share, by=by)
        if user:
            return await self._sharing.remove(record.id, user, by=by)
        return await self._sharing.revoke_all(record.id, by=by)

    def visitors(self, caller: Caller, session: str) -> list[dict[str, Any]]:
        """List who may enter and who is in now, by name."""
        record, sharing = self._mine(caller, session), self._sharing
        found: dict[str, dict[str, Any]] = {
            one.name: {
                "name": one.name,
                "until": moment(one.until),
                "shares": list(one.shares),
                "storage": one.storage,
                "here": moment(one.here_since) if one.here_since else None,
            }
            for one in sharing.entrants(record.id)
        }
        for here in sharing.visits.here(record.id):
            # An administrator needs no share; who is out since a moment may still be listed.
            seen: dict[str, Any] = {
                "name": here.name,
                "until": None,
                "shares": [],
                "storage": False,
                "here": moment(here.since),
            }
            found.setdefault(here.name, seen)
        return [found[name] for name in sorted(found)]

    async def audit(self, caller: Caller, session: str) -> list[dict[str, Any]]:
        """List what happened to a session's sharing, the oldest first."""
        record = self._mine(caller, session)
        return [line_json(line) for line in await self._sharing.audit(record.id)]

    # Of others' sessions.

    def shared(self, caller: Caller) -> list[dict[str, Any]]:
        """List the sessions that others share with the caller.

        The token of a visit must not tell the session's owner what else its bearer may enter.
        """
        name = self._person(caller)
        return [
            {
                "owner": record.owner,
                "session": record.id,
                "name": record.name,
                "kind": record.kind.value,
                "container": record.plan.title,
                "until": moment(until),
                "url": record.url,
            }
            for record, until in self._sharing.shared_with(name)
        ]

    async def leave(self, caller: Caller, owner: str, session: str) -> bool:
        """Give up one's access to a session; see `revoke`."""
        record, name = self._manager.registry.get(session), caller.name
        if record is None or record.owner != owner:
            raise NotFound(session)
        let_in = any(each.id == record.id for each, _ in self._sharing.shared_with(name))
        hers = caller.may(Action.LIST, name) and (let_in or name == owner)
        if not (hers or caller.may(Action.LEAVE, owner, record.id)):
            # Whom nobody let in must not learn that the session is there.
            raise NotFound(session)
        if name == owner:
            raise NotAllowed("The session is yours. Stop it, or revoke its shares.")
        return await self._sharing.remove(record.id, name, by=name)

    async def join(self, caller: Caller, body: object) -> dict[str, Any]:
        """Take up a link, whose code comes in the body: an address is written into logs."""
        name = self._person(caller)
        code = body.get("code") if isinstance(body, Mapping) else None
        if not isinstance(code, str) or not code:
            raise Invalid("Give the link's code as a text.", field="code")
        return invitation_json(await self._manager.links.accept(code, name))


def invitation_json(found: Invitation) -> dict[str, Any]:
    """Write what a link opens."""
    return {
        "owner": found.owner,
        "session": found.session,
        "name": found.name,
        "container": found.container,
        "until": moment(found.until),
        "url": found.url,
    }


def _wanted(body: object) -> tuple[str, Mapping[str, Any]]:
    """Read what is to be shared in which way."""
    if not isinstance(body, Mapping):
        raise Invalid("The body must be a JSON object with user, group or link.")
    for word in body:
        if word not in WORDS:
            known = listing(WORDS, conjunction="and")
            raise Invalid(
                f"{shown(word)} is not known here; there is {known}.",
                field=shown(word),
                allowed=WORDS,
                code="unknown_field",
            )
    ways = [way for way in WAYS if body.get(way)]
    if len(ways) != 1:
        raise Invalid("Give one of user, group or link: with whom, or how, to share.")
    if "people" in body and ways != ["link"]:
        raise Invalid("people is said of links only.", field="people")
    return ways[0], body


def _name(body: Mapping[str, Any], field: str) -> str:
    value = body[field]
    if not isinstance(value, str) or len(value) > 255:
        raise Invalid(f"{field} must be a name.", field=field)
    return value


def _storage(body: Mapping[str, Any]) -> bool:
    value = body.get("storage", False)
    if not isinstance(value, bool):
        raise Invalid("storage must be true or false.", field="storage")
    return value


def _people(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid("people must be a whole number.", field="people")
    return value
