"""Whether a session answers, and what the phases of its start are called."""

from __future__ import annotations

from typing import Final

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from canfar_spawner.core.status import Phase

_ANSWER_WITHIN: Final = 5.0
_SERVER_ERROR: Final = 500


async def answers(address: str) -> bool:
    """Say whether a session's program answers.

    Parameters
    ----------
    address : str
        Of the session, with a slash at its end.
    """
    request = HTTPRequest(
        f"{address}api",
        follow_redirects=False,
        request_timeout=_ANSWER_WITHIN,
        connect_timeout=_ANSWER_WITHIN,
    )
    try:
        answer = await AsyncHTTPClient().fetch(request, raise_error=False)
    except Exception:  # noqa: BLE001 - refused, reset, half-open: not yet
        return False
    # The client reports what is no answer at all as 599.
    return bool(answer.code < _SERVER_ERROR)


PHASE_SENTENCES: dict[Phase, str] = {
    Phase.ASKED: "The session was asked for.",
    Phase.QUEUED: "The session waits for its turn.",
    Phase.PLACING: "A machine with enough room is looked for.",
    Phase.PULLING: "The image is fetched.",
    Phase.PREPARING: "Home, projects and scratch are made ready.",
    Phase.STARTING: "The program starts.",
    Phase.READY: "The session is ready.",
    Phase.ENDING: "The session is ending.",
}
"""What a phase means, in one sentence."""
