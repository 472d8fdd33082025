"""What the session manager has told the hub, for its pages; in memory, at most a day old."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.names import LaunchId
from canfar_spawner.core.plan import SessionPlan
from canfar_spawner.core.status import Evidence, Life, Reason
from canfar_spawner.hub.recent import RecentEndings

_KEPT: Final = timedelta(hours=24)
_MOST: Final = 10_000
"""Launches of which something is kept; more are not alive at once."""
_OF_EACH: Final = 10
_LONGEST: Final = 300


class RefusedRequest(Frozen):
    """A session that a script asked for and did not get."""

    owner: str
    name: str
    sentence: str
    at: datetime


class Told(Frozen):
    """What is known of one launch."""

    ends: datetime | None = None
    """Where it has been extended."""
    name: str = ""
    """Where it has been given another."""
    warning: str = ""


class HubNews:
    """Extended ends, other names, warnings, refusals, and endings that the session manager has seen to.

    Parameters
    ----------
    recent : RecentEndings
        Takes the endings.
    clock : callable
        Gives the time in UTC.
    log : logging.Logger
    """

    def __init__(
        self, recent: RecentEndings, clock: Callable[[], datetime], log: logging.Logger
    ) -> None:
        self._recent = recent
        self._clock = clock
        self._log = log
        self._told: OrderedDict[LaunchId, Told] = OrderedDict()
        self._refused: OrderedDict[str, deque[RefusedRequest]] = OrderedDict()

    def take(self, items: Iterable[object]) -> None:
        """Take what was told; what cannot be read is passed over, as a newer manager's may be."""
        for item in items:
            try:
                self._take(item)
            except (KeyError, TypeError, ValueError, ValidationError) as error:
                self._log.warning("A piece of news cannot be read: %s", str(error)[:200])

    def _take(self, item: Any) -> None:
        match item["kind"]:
            case "extended":
                ends = datetime.fromisoformat(item["ends"])
                self._know(item, ends=ends, warning="")
            case "renamed":
                self._know(item, name=str(item["name"])[:_LONGEST])
            case "warned":
                self._know(item, warning=str(item["sentence"])[:_LONGEST])
            case "ended":
                self._told.pop(item["launch"], None)
                plan = SessionPlan.model_validate(item["plan"])
                at = datetime.fromisoformat(item["at"])
                evidence = Evidence(
                    life=Life.ENDED,
                    reason=Reason(item["reason"]),
                    detail=str(item.get("detail", ""))[:_LONGEST],
                    at=at,
                )
                self._recent.add(plan, evidence, sentence=str(item["sentence"]), at=at)
            case "refused":
                self._refuse(RefusedRequest.model_validate(_only(item, RefusedRequest)))
            case _:
                self._log.debug("News of a kind that this hub does not know is passed over")

    def _know(self, item: Mapping[str, Any], **news: object) -> None:
        launch = LaunchId(item["launch"])
        before = self._told.pop(launch, Told())
        self._told[launch] = before.model_copy(update=news)
        while len(self._told) > _MOST:
            self._told.popitem(last=False)

    def _refuse(self, refused: RefusedRequest) -> None:
        kept = self._refused.pop(refused.owner, None) or deque(maxlen=_OF_EACH)
        self._refused[refused.owner] = kept
        if refused not in kept:
            kept.append(refused)
        while len(self._refused) > _MOST:
            self._refused.popitem(last=False)

    def ends(self, plan: SessionPlan) -> datetime:
        """Give the end that a session is promised now."""
        told = self._told.get(plan.launch)
        return told.ends if told is not None and told.ends is not None else plan.ends

    def name(self, plan: SessionPlan) -> str:
        """Give what a session's owner calls it now."""
        told = self._told.get(plan.launch)
        return (told.name if told is not None else "") or plan.name

    def warning(self, plan: SessionPlan) -> str:
        """Give the sentence its owner is warned with, empty where none is due."""
        told = self._told.get(plan.launch)
        return told.warning if told is not None else ""

    def refused(self, owner: str) -> tuple[RefusedRequest, ...]:
        """Give what scripts of a user were refused within a day, the latest first."""
        oldest = self._clock() - _KEPT
        kept = self._refused.get(owner, ())
        return tuple(refused for refused in reversed(kept) if refused.at > oldest)


def _only(item: Mapping[str, Any], of: type[Frozen]) -> dict[str, Any]:
    return {name: item[name] for name in of.model_fields}
