"""A form that is submitted a second time: browsers show it again on *Back*, and people press twice."""

from __future__ import annotations

import html
import re

import pytest

from tests.support.hub import Hub, Visitor, wait_for

LASTING = True
USED = "This form has launched a session already. Launch again for another one."
FIELDS = {"container": "probe", "name": "photometry", "mode": "flexible"}


@pytest.fixture(scope="module")
def running(ada: Visitor) -> str:
    """Launch a session by a form; gives its id."""
    answer = ada.launch_by_form("twice001", FIELDS)
    assert answer.status_code == 200, answer.text[:500]
    ada.wait_ready("twice001")
    return "twice001"


def test_what_runs_is_led_to_where_the_same_is_asked_for(
    ada: Visitor, hub: Hub, running: str
) -> None:
    answer = ada.client.post(
        f"/hub/spawn/ada/{running}",
        data={**FIELDS, "_xsrf": ada.xsrf()},
        follow_redirects=False,
    )
    assert answer.status_code == 302, answer.text[:500]
    assert answer.headers["Location"] == f"/hub/spawn-pending/ada/{running}"
    assert hub.launches()
    assert all(each.startswith(running) for each in hub.launches())


def test_a_changed_form_is_shown_again_with_what_was_filled_in(ada: Visitor, running: str) -> None:
    changed = {**FIELDS, "name": "astrometry"}
    page = ada.launch_by_form(running, changed)
    assert page.status_code == 409
    text = html.unescape(page.text)
    assert USED in text
    assert 'value="astrometry"' in text
    # What is shown launches another one.
    found = re.search(r'action="(/hub/spawn/ada/([a-z0-9]{8})[^"]*)"', page.text)
    assert found
    assert found[2] != running
    answer = ada.client.post(found[1], data={**changed, "_xsrf": ada.xsrf()})
    assert answer.status_code == 200, answer.text[:500]
    ada.wait_ready(found[2])
    ada.stop(found[2])
    assert ada.server(running) is not None


def test_a_form_whose_session_has_ended_is_shown_again(
    ada: Visitor, hub: Hub, running: str
) -> None:
    ada.stop(running)
    wait_for(lambda: ada.server(running) is None, "its row to go")
    page = ada.launch_by_form(running, FIELDS)
    assert page.status_code == 409
    text = html.unescape(page.text)
    assert USED in text
    assert 'value="photometry"' in text
    assert not [each for each in hub.launches() if each.startswith(running)]
