"""Times that come from outside, as the platform keeps them."""

from __future__ import annotations

from datetime import UTC, datetime


def utc(at: datetime) -> datetime:
    """Give a time in UTC; one without a zone is of UTC already.

    Raises
    ------
    ValueError
        It is at the edge of what there is, and has no time in UTC.

    Examples
    --------
    >>> utc(datetime.fromisoformat("2026-11-25T18:00:00+02:00")).isoformat()
    '2026-11-25T16:00:00+00:00'
    """
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("there is no such time in UTC") from None
