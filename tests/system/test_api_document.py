"""Every operation that the session manager documents answers as the document says."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import Any

import hypothesis
import pytest
from schemathesis import GenerationMode, checks, openapi

from tests.support.hub import Hub, Visitor
from tests.support.v1 import V1
from tests.system.test_api_abuse import _short_lines, v1

__all__ = ["_short_lines", "v1"]

EXAMPLES = int(os.environ.get("CANFAR_API_EXAMPLES", "4"))
"""Requests for each operation; `make test-long PART=api` sends many more."""
pytestmark = pytest.mark.environment("proxy")
LASTING = True

checks.load_all_checks()
CHECKS = [
    checks.CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
]


def document(v1: V1) -> dict[str, Any]:
    answer = v1.call("GET", "/v1/openapi.json")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_the_document_is_openapi(v1: V1) -> None:
    found = document(v1)
    assert found["openapi"].startswith("3.1")
    openapi.from_dict(found).validate()
    assert {"/v1/session", "/v1/session/{id}"} <= found["paths"].keys()


def test_every_operation_answers_as_it_says(hub: Hub, ben: Visitor, v1: V1) -> None:
    """With a real token and without: no 500, no status that the document does not name."""
    session = v1.created(name="foreign", cmd="sleep", args="600")
    other = V1.of(ben)
    own = other.created(name="own", cmd="sleep", args="600")
    schema = openapi.from_dict(document(v1))
    called: dict[tuple[str, str], set[int]] = {}
    failures = []
    for found in schema.get_all_operations():
        operation = found.ok()
        modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        for token, mode in itertools.product((ben.token, ""), modes):
            # Of some operations nothing can be wrong: they take nothing.
            try:
                with contextlib.suppress(hypothesis.errors.Unsatisfiable):
                    _send(
                        hub,
                        operation.as_strategy(generation_mode=mode),
                        operation.label,
                        token,
                        called,
                        (own, session),
                    )
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - each has its say
                failures.append(f"{operation.label}: {error}"[:700])
    assert not failures, "\n\n".join(failures)
    assert len(called) >= 10, called
    for label, statuses in called.items():
        if label[1] and not statuses <= {200, 201, 204, 302}:
            assert 401 in statuses or 404 in statuses or 503 in statuses, (label, statuses)
    other.clear()
    assert v1.status(session) in ("Pending", "Running"), "ben has not ended ada's"


def _send(
    hub: Hub,
    strategy: Any,
    label: str,
    token: str,
    called: dict[tuple[str, str], set[int]],
    sessions: tuple[str, ...],
) -> None:
    """Send some requests that the document allows, and some that it does not."""
    numbers = iter(range(10**9))

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    @hypothesis.given(case=strategy)
    def send(case: Any) -> None:
        # Half of the time a session that there is: one's own, or somebody else's.
        for name in case.path_parameters or {}:
            number = next(numbers)
            if number % 2 and name == "id":
                case.path_parameters[name] = sessions[number // 2 % len(sessions)]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = case.call(base_url=f"{hub.url}/services/sessions", headers=headers)
        called.setdefault((label, "" if token else "nobody"), set()).add(answer.status_code)
        if answer.status_code == 503 and "stats" in str(case.query):
            return
        case.validate_response(answer, checks=CHECKS)

    send()
