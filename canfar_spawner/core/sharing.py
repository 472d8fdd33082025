"""What a site permits of sharing sessions: whether, for how long, and for how long a link."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from canfar_spawner.core.errors import Invalid, NotAllowed
from canfar_spawner.core.frozen import Frozen

LONGEST_LINK: Final = timedelta(hours=24)
MOST_BY_LINK: Final = 50
"""So many people at most may come in by one link."""


class SharingPolicy(Frozen):
    """Whether and for how long sessions may be shared."""

    allowed: bool = True
    allow_on_one_domain: bool = False
    """Share also where users have no origins of their own."""
    longest: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=366))] = timedelta(
        days=30
    )
    """No share reaches further than this from when it is made."""
    link_lifetime: Annotated[timedelta, Field(gt=timedelta(0), le=LONGEST_LINK)] = LONGEST_LINK
    """For so long a link can be taken up."""


def refusal(policy: SharingPolicy, *, own_origins: bool) -> str:
    """Say why nothing can be shared; empty where it can."""
    if not policy.allowed:
        return "Sessions cannot be shared at this site."
    if not own_origins and not policy.allow_on_one_domain:
        return (
            "Sessions cannot be shared at this site: that needs a web address of its own for"
            " every user. The administrators can set that up, or allow sharing without."
        )
    return ""


def demand_sharing(policy: SharingPolicy, *, own_origins: bool) -> None:
    """Raise NotAllowed where nothing can be shared."""
    sentence = refusal(policy, own_origins=own_origins)
    if sentence:
        raise NotAllowed(sentence, code="sharing_off")


def end_of_share(
    wanted: datetime | None, *, now: datetime, ends: datetime, policy: SharingPolicy
) -> datetime:
    """Give when a share ends: as wanted, the session's end at most.

    Raises
    ------
    Invalid
        It is wanted for a time that has passed, or for longer than the site permits.
    """
    latest = min(ends, now + policy.longest)
    if wanted is None:
        return latest
    if wanted <= now:
        raise Invalid(
            "The time until which to share has passed. Give one that is to come.", field="until"
        )
    if wanted - now > policy.longest:
        days = policy.longest / timedelta(days=1)
        raise Invalid(f"A session may be shared for at most {days:g} days.", field="until")
    return min(wanted, latest)
