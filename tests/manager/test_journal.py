"""The manager's log: short lines, and no secret in them, whoever sends what."""

from __future__ import annotations

import io
import json
import logging
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canfar_spawner.manager import journal
from canfar_spawner.manager.journal import LONGEST, VARIABLE, LogForm, without_secrets

TOKEN = "0123456789abcdef0123456789abcdef"
"""As JupyterHub makes them."""


@pytest.fixture
def begin() -> Iterator[Callable[[str], io.StringIO]]:
    """Write everything into a text, in a form, and leave the log as it was."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level

    def beginning(form: str) -> io.StringIO:
        stream = io.StringIO()
        journal.begin({VARIABLE: form} if form else {}, stream=stream)
        return stream

    yield beginning
    root.handlers[:] = before
    root.setLevel(level)


def noted(log: logging.Logger, **changes: Any) -> None:
    journal.note(
        log,
        **{
            "request": "1f2e3d4c5b6a7988",
            "method": "POST",
            "operation": "createSession",
            "status": 200,
            "ms": 12.34,
            "owner": "ada",
            "session": "xk3v9q2m",
            **changes,
        },
    )


def test_a_line_for_a_person(begin: Callable[[str], io.StringIO]) -> None:
    stream = begin("")
    noted(logging.getLogger("sessions"))
    line = stream.getvalue()
    assert line.startswith("[I ")
    assert line.endswith("sessions] 200 POST createSession of ada about xk3v9q2m in 12 ms\n")


def test_an_object_for_a_machine(begin: Callable[[str], io.StringIO]) -> None:
    stream = begin("json")
    noted(logging.getLogger("sessions"))
    found = json.loads(stream.getvalue())
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "info",
        "logger": "sessions",
        "request": "1f2e3d4c5b6a7988",
        "operation": "createSession",
        "owner": "ada",
        "session": "xk3v9q2m",
        "status": 200,
        "ms": 12.3,
        "message": "200 POST createSession of ada about xk3v9q2m in 12 ms",
    }


@pytest.mark.parametrize("wrong", ["JSON", "xml", " "])
def test_another_form_is_refused(wrong: str) -> None:
    with pytest.raises(LogForm, match="CANFAR_SESSIONS_LOG must be text or json"):
        journal.begin({VARIABLE: wrong})


@pytest.mark.parametrize(
    ("changes", "levels"),
    [
        ({"method": "GET", "operation": "listSessions"}, []),
        ({"method": "POST", "operation": "tell"}, []),
        ({"method": "POST", "operation": "heartbeat", "status": 204}, []),
        ({"method": "GET", "operation": "", "status": 404}, ["info"]),
        ({"method": "DELETE", "operation": "endSession"}, ["info"]),
        ({"method": "POST", "operation": "tell", "status": 500}, ["warning"]),
        ({"method": "POST", "status": 503}, ["warning"]),
    ],
)
def test_what_goes_well_every_few_seconds_is_not_told(
    begin: Callable[[str], io.StringIO], changes: dict[str, Any], levels: list[str]
) -> None:
    stream = begin("json")
    noted(logging.getLogger("sessions"), **changes)
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == levels


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {TOKEN}",
        f"authorization: token {TOKEN}",
        f"the header was 'token {TOKEN[:12]}'",
        f"GET /services/sessions/v1/session?name=x&env=PASSWORD={TOKEN}",
        f"http://127.0.0.1:8081/hub/api/users?token={TOKEN[:20]}",
        f'{{"api_token": "{TOKEN[:16]}"}}',
        f"JUPYTERHUB_API_TOKEN={TOKEN[:10]}",
        f"X-Skaha-Registry-Auth: {TOKEN[:14]}==",
        f"client_secret = '{TOKEN[:11]}'",
        f"a token on its own, {TOKEN}, in a sentence",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    found = without_secrets(text)
    assert not any(TOKEN[:length] in found for length in (10, 11, 12, 14, 16, 20, 32))


@pytest.mark.parametrize(
    "text",
    [
        "xk3v9q2m-0123456789ab of ada was asked for by ada",
        "images.canfar.net/skaha/astroml:26.10@sha256:" + "0f" * 32,
        "The token of a session does not permit that.",
        "Is it well? Nobody knows.",
        "canfar-hub reconcile --check: 3 differences",
    ],
)
def test_what_an_operator_needs_stays(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_of_an_error_are_hidden_too(begin: Callable[[str], io.StringIO], form: str) -> None:
    stream = begin(form)
    secret = secrets.token_hex(16)

    def fail() -> None:
        raise RuntimeError(f"the hub refused Bearer {secret}")

    try:
        fail()
    except RuntimeError:
        logging.getLogger("sessions").exception("What was asked came to grief")
    assert secret not in stream.getvalue()
    assert "RuntimeError" in stream.getvalue()
    assert "came to grief" in stream.getvalue()


HOSTILE = st.one_of(
    st.text(max_size=5000),
    st.text(alphabet='"\\\n\r\x00\x1b\u2028\ud800é\U0001f30c', max_size=3000),
    st.integers(1, 200_000).map(lambda count: "x" * count),
)


@settings(deadline=None)
@given(message=HOSTILE, owner=HOSTILE, error=HOSTILE)
def test_no_line_is_longer_than_a_kilobyte(message: str, owner: str, error: str) -> None:
    def deep(left: int) -> None:
        if left:
            deep(left - 1)
        raise ValueError(error)

    try:
        deep(20)
    except ValueError as raised:
        record = logging.LogRecord(
            *("sessions", logging.ERROR, __file__, 1, "%s", (message,)),
            exc_info=(type(raised), raised, raised.__traceback__),
        )
    record.owner = owner
    line = journal.JsonForm().format(record)
    assert len(line.encode()) <= LONGEST
    assert "\n" not in line
    assert json.loads(line)["level"] == "error"
    lines = journal.TextForm().format(record).split("\n")
    assert all(len(each.encode()) <= LONGEST for each in lines)
    assert not any(set("\r\x00\x1b\u2028") & set(each) for each in lines)


def test_nobody_writes_a_line_of_somebody_else(begin: Callable[[str], io.StringIO]) -> None:
    stream = begin("text")
    logging.getLogger("sessions").warning("%s was refused", "x\n[I 2026 sessions] all is well")
    assert len(stream.getvalue().splitlines()) == 1
