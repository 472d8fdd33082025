"""What the session manager tells the hub is on the hub's pages, also after a restart."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.support.hub import Hub, Visitor, wait_for
from tests.support.v1 import V1

FIVE = timedelta(minutes=5)
SITE = {"lifetimes": {"interactive": "PT5M8S"}}
"""Sessions are warned of their end a few seconds after their start."""
REFUSED = "Refused to your scripts"

pytestmark = pytest.mark.environment("proxy")


def card(visitor: Visitor, session: str) -> str:
    """Give a session's card as it is now."""
    return visitor.home().partition(f'id="session-{session}"')[2].partition("</article>")[0]


def until(text: str) -> str:
    """Give the end that a card shows."""
    found = re.search(r'until <time[^>]*datetime="([^"]+)"', text)
    assert found, text
    return found[1]


def test_warnings_ends_and_refusals_are_on_the_page(hub: Hub, ada: Visitor, v1: V1) -> None:
    session = v1.created(type="notebook", name="photometry")
    v1.wait(session, "Running")
    wait_for(lambda: "photometry ends at" in card(ada, session), "the warning on its card")
    assert "Extend it, or save what you need." in card(ada, session)
    (notice,) = v1.call("GET", "/v1/notices").json()
    assert notice["session"] == session
    assert notice["sentence"] in card(ada, session)

    before = until(card(ada, session))
    assert v1.call("POST", f"/v1/session/{session}?action=renew").status_code == 200
    wait_for(lambda: until(card(ada, session)) > before, "the new end on its card")
    row = v1.row(session)
    assert row is not None
    assert until(card(ada, session)) == row["expiryTime"]

    answer = v1.create(name="greedy", cmd="true", cores="16.9")
    assert answer.status_code == 400
    wait_for(lambda: answer.text.strip() in ada.home().partition(REFUSED)[2], "the refusal at home")
    assert "greedy" in ada.home().partition(REFUSED)[2]
    ben = hub.sign_in("ben")
    assert REFUSED not in ben.home()

    # The hub begins anew: what it was told is told again.
    extended = until(card(ada, session))
    hub.kill()
    hub.start()
    wait_for(lambda: until(card(ada, session)) == extended, "the extended end after a restart")
    wait_for(lambda: "greedy" in ada.home().partition(REFUSED)[2], "the refusal after a restart")
    v1.delete(session)
