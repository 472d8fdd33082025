"""The history over the wire, and what is counted."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from typing_extensions import override

from canfar_spawner.core.authority import Action
from canfar_spawner.core.errors import Invalid
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.status import Evidence, Life
from canfar_spawner.core.times import utc
from canfar_spawner.manager import metrics, wire
from canfar_spawner.manager.history import MOST, plan_digest
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.v1 import V1, NotFound
from canfar_spawner.manager.v1_shares import line_json, share_json

DEFAULT: Final = 50
"""Sessions on a page, where nobody says how many."""


class Past(V1):
    """What is about sessions that were."""

    def moment(self, name: str) -> datetime | None:
        """Read a parameter that is a time; raises Invalid."""
        text = self.word(name)
        if not text:
            return None
        try:
            return utc(datetime.fromisoformat(text))
        except ValueError:
            raise Invalid(
                f"{name} must be a time such as 2026-11-25T18:00:00Z.", field=name
            ) from None

    def row(self, record: SessionRecord) -> dict[str, Any]:
        """Write a session with what is kept of it beyond its life."""
        registry = self.manager.registry
        evidence = registry.evidence_of(record) if record.live else Evidence(life=Life.ENDED)
        peaks = {
            "peakCores": None if record.peak_cores is None else f"{record.peak_cores:.3f}",
            "peakMemory": record.peak_memory,
        }
        return {
            **wire.session_json(record, evidence),
            "launch": record.launch,
            "planDigest": plan_digest(record),
            "imageDigest": record.image_digest,
            # By name alone: the values were never kept.
            "env": list(record.plan.env_names),
            "endedBy": record.ending_by,
            **{name: value for name, value in peaks.items() if value is not None},
        }


class History(Past):
    """The sessions of whoever asks, however long ago."""

    @override
    async def get(self) -> None:
        """List a page of them, the newest first."""
        kind = wire.check_filter("type", self.word("type"), tuple(SessionKind))
        self.demand(Action.LIST)
        page = await self.manager.history.find(
            self.caller.name,
            since=self.moment("since"),
            until=self.moment("until"),
            kind=SessionKind(kind) if kind else None,
            cursor=self.word("cursor"),
            most=self._most(),
        )
        self.tell_json(
            {"sessions": [self.row(record) for record in page.sessions], "cursor": page.cursor}
        )

    def _most(self) -> int:
        text = self.word("most") or str(DEFAULT)
        if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MOST):
            raise Invalid(f"most must be a whole number from 1 to {MOST}.", field="most")
        return int(text)


class Story(Past):
    """One session, however long ago."""

    @override
    async def get(self, session: str) -> None:
        """Tell everything that is kept of it."""
        story = await self.manager.history.of(session)
        if story is None or not self.caller.may(Action.LIST, story.record.owner):
            raise NotFound(session)
        steps = [
            {
                "at": wire.moment(each.at),
                "step": each.step.value,
                "reason": each.reason.value,
                "detail": each.detail,
                "by": each.by,
            }
            for each in story.milestones
        ]
        self.tell_json(
            {
                **self.row(story.record),
                "milestones": steps,
                "shared": [share_json(share, ()) for share in story.shares],
                "audit": [line_json(line) for line in story.audit],
            }
        )


class Metrics(V1):
    """What is counted, for Prometheus."""

    @override
    def get(self) -> None:
        """Give all of it."""
        self.set_header("Content-Type", metrics.CONTENT_TYPE)
        self.finish(self.manager.metrics.text())
