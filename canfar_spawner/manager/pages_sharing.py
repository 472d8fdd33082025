"""Pages about sharing: who may enter a session, the page behind a link, what others share."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from canfar_spawner.core.authority import Action
from canfar_spawner.core.errors import Invalid, RequestRefused
from canfar_spawner.core.kinds import KINDS
from canfar_spawner.core.sharing import MOST_BY_LINK
from canfar_spawner.manager.pages_frame import Frame, Page
from canfar_spawner.manager.pages_sessions import ID, SessionPage
from canfar_spawner.manager.pages_views import AuditRow, GuestRow, JoinView, ShareRow, ShareView
from canfar_spawner.manager.people import groups_with_others
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.shares import How, Share, Terms
from canfar_spawner.manager.sharing_words import LENGTHS, happened, lengths, title
from canfar_spawner.portal.language import marked, say
from canfar_spawner.portal.sharing import ONE_DOMAIN, SHARING_MEANS
from canfar_spawner.portal.words import iso

if TYPE_CHECKING:
    from canfar_spawner.manager.service import Manager

_REVOKED: Final = marked("Revoked. Whoever was in by it is out within seconds.")
_REVOKED_LATER: Final = marked(
    "It is revoked as soon as the hub answers; until then nobody new comes in by it."
)


def _warning(manager: Manager) -> str:
    """Give the standing notice on sharing at this site."""
    return "" if manager.settings.own_origins else say(ONE_DOMAIN)


class SharePage(SessionPage):
    """Shares a session, and shows and ends all sharing of it."""

    def _row(self, share: Share, here: dict[str, str], now: datetime) -> ShareRow:
        opens = share.link_until if share.open_link(now) and not share.full else None
        return ShareRow(
            id=share.id,
            how=share.how.value,
            title=title(share),
            until=iso(share.until),
            link_until=iso(opens) if opens else "",
            storage=share.storage,
            guests=tuple(
                GuestRow(name, here.get(name, "")) for name in self.manager.sharing.used_by(share)
            ),
        )

    async def _show(self, record: SessionRecord, status: int = 200, /, **said: Any) -> None:
        sharing, now = self.manager.sharing, self.manager.clock()
        policy = self.manager.policy().sharing
        here = {one.name: iso(one.since) for one in sharing.visits.here(record.id)}
        shares = tuple(self._row(share, here, now) for share in sharing.shares(record.id))
        let_in = {guest.name for share in shares for guest in share.guests}
        audit = await sharing.audit(record.id)
        view = ShareView(
            session=self.row(record),
            means=say(SHARING_MEANS),
            shares=shares,
            # An administrator needs no share.
            others=tuple(GuestRow(name, here[name]) for name in sorted(here.keys() - let_in)),
            audit=tuple(AuditRow(iso(line.at), happened(line)) for line in reversed(audit)),
            groups=groups_with_others(self.manager.identities, record.owner),
            lengths=tuple(
                ("" if hours is None else str(hours), words)
                for hours, words in lengths(policy.longest, record.ends - now)
            ),
            most_people=MOST_BY_LINK,
            storage=KINDS[record.kind].panel,
            warning=_warning(self.manager),
            off=sharing.off(),
            **said,
        )
        self.show("share.html", view, status)

    @override
    async def get(self, session: str) -> None:
        """Show it."""
        await self._show(self.mine(session, Action.SHARE), **self.said(session))

    @override
    async def post(self, session: str) -> None:
        """Share it, and lead to what came of it."""
        record = self.mine(session, Action.SHARE)
        person = self.get_body_argument("person", "")
        try:
            said = await self._share(record, person)
        except RequestRefused as error:
            field = "person" if error.field == "user" else error.field
            await self._show(
                record,
                error.status,
                error=error.sentence,
                error_field=field,
                person=person,
                with_storage=self._with_storage(),
            )
            return
        self.lead_on(f"share/{session}", session, **said)

    async def _share(self, record: SessionRecord, person: str) -> dict[str, str]:
        terms = Terms(
            by=self.caller.name,
            until=self._until(),
            storage=self._with_storage(),
        )
        match self.get_body_argument("how", ""):
            case How.PERSON:
                await self.manager.sharing.with_person(record, person, terms)
                return {"said": say("%(name)s may enter now.", name=person)}
            case How.GROUP:
                group = self.get_body_argument("group", "")
                await self.manager.sharing.with_group(record, group, terms)
                words = say("Everyone in the group %(name)s may enter now.", name=group)
                return {"said": words}
            case How.LINK:
                share, code = await self.manager.links.make(record, terms, people=self._people())
                ends = iso(share.link_until) if share.link_until else ""
                return {"link": self.manager.links.url(code), "link_until": ends}
            case _:
                raise Invalid("Share by a link, with a person or with a group.", field="how")

    def _with_storage(self) -> bool:
        return bool(self.get_body_argument("storage", ""))

    def _people(self) -> int:
        text = self.get_body_argument("people", "1")
        if not (text.isascii() and text.isdigit() and len(text) <= 4):
            raise Invalid(f"A link is for 1 to {MOST_BY_LINK} people.", field="people")
        return int(text)

    def _until(self) -> datetime | None:
        text = self.get_body_argument("length", "")
        if text not in {"", *(str(hours) for hours, _ in LENGTHS)}:
            raise Invalid("Choose one of the times on the page.", field="until")
        return self.manager.clock() + timedelta(hours=int(text)) if text else None


class Revoke(SharePage):
    """Ends one share, what one person has, or all."""

    @override
    async def get(self, session: str) -> None:
        """Lead back whoever reloads: nothing is done by a link."""
        self.mine(session, Action.SHARE)
        self.redirect(f"{self.frame.settings.prefix}share/{session}")

    @override
    async def post(self, session: str) -> None:
        """End it."""
        record = self.mine(session, Action.SHARE)
        sharing, by = self.manager.sharing, self.caller.name
        person = self.get_body_argument("user", "")
        if self.get_body_argument("all", ""):
            done = await sharing.revoke_all(record.id, by=by)
        elif person:
            done = await sharing.remove(record.id, person, by=by)
        else:
            done = await sharing.revoke(record.id, self.get_body_argument("share", ""), by=by)
        self.lead_on(f"share/{session}", session, said=say(_REVOKED if done else _REVOKED_LATER))


class Join(Page):
    """The page behind a link, for whoever was given it."""

    def _refuse(self, error: RequestRefused) -> None:
        view = JoinView("", "", "", "", "", refused=error.sentence)
        self.show("join.html", view, error.status)

    @override
    async def get(self) -> None:
        """Say what the link opens; it is taken up by the button alone."""
        code = self.get_query_argument("code", "")
        try:
            found = self.manager.links.look(code)
        except RequestRefused as error:
            self._refuse(error)
            return
        if found.owner == self.caller.name:
            self.redirect(found.url)
            return
        view = JoinView(
            code=code,
            owner=found.owner,
            name=found.name,
            container=found.container,
            until=iso(found.until),
            warning=_warning(self.manager),
        )
        self.show("join.html", view)

    @override
    async def post(self) -> None:
        """Let her in, and lead to the session."""
        try:
            found = await self.manager.links.accept(
                self.get_body_argument("code", ""), self.caller.name
            )
        except RequestRefused as error:
            self._refuse(error)
            return
        self.redirect(found.url, status=303)


class Leave(Page):
    """Gives up what somebody else shares."""

    @override
    async def get(self, session: str) -> None:
        """Lead back whoever reloads: nothing is done by a link."""
        self.redirect(self.frame.settings.prefix)

    @override
    async def post(self, session: str) -> None:
        """Give it up."""
        name = self.caller.name
        for record, _ in self.manager.sharing.shared_with(name):
            if record.id == session:
                await self.manager.sharing.remove(record.id, name, by=name)
                words = say(
                    "You have left %(name)s, a session of %(owner)s.",
                    name=record.name,
                    owner=record.owner,
                )
                self.lead_on("", said=words)
                return
        self.redirect(self.frame.settings.prefix, status=303)


def sharing_routes(frame: Frame) -> list[Any]:
    """Give the addresses of these pages."""
    given = {"frame": frame}
    return [
        (f"share/{ID}", SharePage, given),
        (f"share/{ID}/revoke", Revoke, given),
        (f"leave/{ID}", Leave, given),
        ("join", Join, given),
    ]
