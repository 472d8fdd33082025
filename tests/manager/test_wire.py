"""The encodings of the wire contract, read by the public client's own models."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canfar_spawner.core.backend import BackendEvent, Capacity, Free, Use
from canfar_spawner.core.errors import Invalid
from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.resources import GIB
from canfar_spawner.core.status import REASONS, Evidence, Life, Phase, Reason
from canfar_spawner.local import environments
from canfar_spawner.manager import wire
from canfar_spawner.manager.records import SessionRecord
from canfar_spawner.manager.rows import Rows
from canfar_spawner.manager.v1_sessions import last_lines
from tests.core.world import ADA, EVE, NOW, SITE, plan, site

Read = Callable[[str, Any], Any]

_READER: Final = """
import json, sys, warnings
warnings.simplefilter("error")
from canfar.models.session import FetchResponse
from canfar.models.containers import Image
from canfar.models.http import ServerResources
from canfar.utils.vosi import capabilities
readers = {
    "session": lambda value: FetchResponse.model_validate(value).model_dump(mode="json"),
    "image": lambda value: Image.model_validate(value).model_dump(mode="json"),
    "context": lambda value: ServerResources.from_context(value).model_dump(mode="json"),
    "capabilities": capabilities,
}
for line in sys.stdin:
    kind, value = json.loads(line)
    try:
        found = readers[kind](value)
    except Exception as error:
        found = {"error": repr(error)}
    print(json.dumps(found), flush=True)
"""

ASTROML: Final = {"container": "astroml"}
JOB: Final = {"container": "astroml", "kind": "headless", "cmd": "true"}


@pytest.fixture(scope="module")
def read(requires: Callable[[str], None]) -> Iterator[Read]:
    """Have the public client read something, in an environment of its own."""
    requires("client")
    python = environments.location("client") / "bin" / "python"
    with subprocess.Popen(
        [str(python), "-c", _READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None

        def ask(kind: str, value: Any) -> Any:
            assert reader.stdin is not None
            assert reader.stdout is not None
            print(json.dumps([kind, value]), file=reader.stdin, flush=True)
            found = json.loads(reader.stdout.readline())
            assert not (isinstance(found, dict) and "error" in found), found
            return found

        yield ask
        reader.stdin.close()


def record(options: dict[str, Any] | None = None, **changes: Any) -> SessionRecord:
    """Make a record of a session of ada's."""
    planned = plan(options or ASTROML, ADA)
    made: dict[str, Any] = {
        "plan": planned,
        "name": planned.name,
        "asked": NOW,
        "ends": planned.ends,
        "url": "https://hub.example.org/user/ada/k3vd81qa/",
        "begun": True,
    }
    return SessionRecord(**{**made, **changes})


RUNNING: Final = Evidence(life=Life.RUNNING, phase=Phase.READY)

_OPTIONS: Final = st.sampled_from(
    [
        ASTROML,
        JOB,
        {"container": "carta"},
        {"container": "desktop"},
        {"container": "firefly"},
        {"container": "pluto"},
        {**ASTROML, "cores": 2},
        {**ASTROML, "memory": 8},
        {**ASTROML, "cores": 2, "memory": 8},
        {**ASTROML, "name": "Ünï cøde 1"},
        {"image": "images.canfar.net/skaha/mine:2", "kind": "headless"},
    ]
)
_TIMES: Final = st.none() | st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-8))]),
)
_EVIDENCE: Final = st.builds(
    Evidence,
    life=st.sampled_from(Life),
    phase=st.sampled_from(Phase),
    reason=st.sampled_from(Reason),
    detail=st.text(max_size=20),
    exit_code=st.none() | st.integers(-1, 255),
    node=st.sampled_from(["", "node-1"]),
    at=_TIMES,
)
_USES: Final = st.none() | st.builds(
    Use,
    cores=st.none() | st.decimals(0, 1000, places=4),
    memory=st.none() | st.integers(0, 2**45),
    at=st.just(NOW),
)


@settings(max_examples=150, deadline=None)
@given(
    options=_OPTIONS,
    evidence=_EVIDENCE,
    use=_USES,
    ready=_TIMES,
    ended=_TIMES,
    ending=st.none() | st.sampled_from([Reason.STOPPED, Reason.EXPIRED]),
    reason=st.sampled_from(Reason),
    url=st.sampled_from(["", "https://hub.example.org/user/ada/k3vd81qa/"]),
    warning=st.sampled_from(["", "It ends in an hour."]),
)
def test_the_client_takes_every_session(read: Read, **given: Any) -> None:
    """No row is dropped: whatever happened, the client's own model reads it."""
    options, evidence, use = given.pop("options"), given.pop("evidence"), given.pop("use")
    warning = given.pop("warning")
    row = wire.session_json(record(options, **given), evidence, use=use, warning=warning)
    json.dumps(row)
    assert None not in row.values()
    found = read("session", row)
    for key in ("id", "userid", "name", "image", "type", "status", "runAsUID", "connectURL"):
        assert found[key] == row[key]
        assert isinstance(row[key], str)
    for key in ("requestedRAM", "requestedCPUCores", "ramInUse", "cpuCoresInUse"):
        assert found[key] == row.get(key)
        assert isinstance(row.get(key, ""), str)
    assert found["isFixedResources"] is row["isFixedResources"]
    assert found["expiryTime"] is not None
    for key in ("startTime", "expiryTime", "asked", "ends", "ended", "started"):
        if key in row:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[key])
    assert row["status"] in wire.STATUSES
    assert row["status"] != "Unknown"


def test_sizes_of_a_fixed_session_are_decimal() -> None:
    row = wire.session_json(record({**ASTROML, "cores": 2, "memory": 8}), RUNNING)
    assert row["requestedRAM"] == "8.59"
    assert row["requestedCPUCores"] == "2"
    assert row["isFixedResources"] is True
    assert row["mode"] == "fixed"


@pytest.mark.parametrize("options", [{"cores": 2}, {"memory": 8}, {}])
def test_other_sizes_are_not_told_as_fixed(options: dict[str, int]) -> None:
    row = wire.session_json(record({**ASTROML, **options}), RUNNING)
    assert row["isFixedResources"] is False
    assert "requestedRAM" not in row
    assert "requestedCPUCores" not in row
    assert row["mode"] == ("partly fixed" if options else "flexible")
    assert row["memory_limit_gb"] == options.get("memory", 32)


def test_use_is_told_while_it_lives_and_not_made_up() -> None:
    use = Use(cores=Decimal("0.12345"), memory=8 * 2**30, at=NOW)
    row = wire.session_json(record(ready=NOW), RUNNING, use=use)
    assert (row["cpuCoresInUse"], row["ramInUse"]) == ("0.123", "8.59")
    for absent in (None, Use(cores=None, memory=None, at=NOW)):
        row = wire.session_json(record(ready=NOW), RUNNING, use=absent)
        assert "cpuCoresInUse" not in row
        assert "ramInUse" not in row
    row = wire.session_json(record(ended=NOW), RUNNING, use=use)
    assert "ramInUse" not in row


@pytest.mark.parametrize(
    ("changes", "life", "status", "state"),
    [
        ({}, Life.STARTING, "Pending", "Pending"),
        ({}, Life.RUNNING, "Pending", "Pending"),
        ({"ready": NOW}, Life.RUNNING, "Running", "Running"),
        ({}, Life.UNKNOWN, "Pending", "Unknown"),
        ({"ready": NOW}, Life.UNKNOWN, "Running", "Unknown"),
        ({"ready": NOW, "ending": Reason.STOPPED}, Life.RUNNING, "Terminating", "Terminating"),
        ({"ready": NOW, "ending": Reason.STOPPED}, Life.UNKNOWN, "Terminating", "Unknown"),
        ({"ended": NOW, "reason": Reason.STOPPED}, Life.UNKNOWN, "Completed", "Completed"),
        ({"ended": NOW, "reason": Reason.FINISHED}, Life.RUNNING, "Completed", "Completed"),
        ({"ended": NOW, "reason": Reason.OUT_OF_MEMORY}, Life.RUNNING, "Failed", "Failed"),
        ({"ended": NOW, "reason": Reason.EXPIRED}, Life.ABSENT, "Completed", "Completed"),
    ],
)
def test_unknown_is_shown_as_what_was_known_last(
    changes: dict[str, Any], life: Life, status: str, state: str
) -> None:
    row = wire.session_json(record(**changes), Evidence(life=life))
    assert (row["status"], row["state"]) == (status, state)


def test_a_job_runs_without_an_address() -> None:
    row = wire.session_json(record(JOB, url=""), RUNNING)
    assert row["status"] == "Running"
    assert row["connectURL"] == ""
    assert row["type"] == "headless"


def test_a_replica_tells_of_which_jobs_it_is_one_by_the_name_that_it_was_asked_with() -> None:
    options = {**JOB, "name": "sim-3", "env": {"REPLICA_ID": "3", "REPLICA_COUNT": "8"}}
    written = wire.session_json(record(options, name="renamed"), Evidence(life=Life.RUNNING))
    assert (written["replicaOf"], written["replica"]) == ("sim", 3)
    alone = wire.session_json(record({**JOB, "name": "sim-3"}), Evidence(life=Life.RUNNING))
    assert "replicaOf" not in alone


def test_a_session_tells_its_owner_who_may_enter() -> None:
    evidence = Evidence(life=Life.RUNNING)
    assert wire.session_json(record(), evidence, shares=1, guests=("ben",))["guests"] == ["ben"]
    assert "guests" not in wire.session_json(record(), evidence)
    rows = Rows()
    before = rows.of(record(), evidence, shares=1)
    assert rows.of(record(), evidence, shares=1, guests=("ben",)).text != before.text


@pytest.mark.parametrize(
    ("most", "lines"), [(None, "a\nb\nc"), (1, "c"), (2, "b\nc"), (9, "a\nb\nc")]
)
def test_a_log_can_be_asked_for_by_its_last_lines(most: int | None, lines: str) -> None:
    assert last_lines("a\nb\nc", most) == lines


def test_a_reason_comes_with_its_words() -> None:
    ended = record(
        JOB, ended=NOW, reason=Reason.OUT_OF_MEMORY, exit_code=137, detail="4 GB were not enough"
    )
    row = wire.session_json(ended, RUNNING, shares=2, warning="Soon.")
    assert row["reason"] == "out_of_memory"
    assert row["sentence"] == REASONS[Reason.OUT_OF_MEMORY].sentence
    assert row["exit_code"] == 137
    assert row["detail"] == "4 GB were not enough"
    assert row["shares"] == 2
    assert row["warning"] == "Soon."


def test_a_new_name_and_a_new_end_are_what_is_told() -> None:
    ends = NOW + timedelta(days=9)
    row = wire.session_json(record(name="Galaxies", ends=ends), RUNNING)
    assert row["name"] == "Galaxies"
    assert row["expiryTime"] == row["ends"] == wire.moment(ends)


# Filters.


@pytest.mark.parametrize(
    ("kind", "status", "found"),
    [
        ("", "", True),
        ("Headless", "", True),
        ("notebook", "", False),
        ("desktop-app", "", False),
        ("", "completed", True),
        ("", "Succeeded", True),
        ("", "SUCCEEDED", True),
        ("", "Running", False),
        ("headless", "Failed", False),
    ],
)
def test_filters_know_synonyms_and_no_capitals(
    kind: str,
    status: str,
    found: bool,  # noqa: FBT001 - what is expected
) -> None:
    row = wire.session_json(record(JOB, ended=NOW, reason=Reason.FINISHED), RUNNING)
    chosen = wire.check_filter("type", kind, wire.TYPES)
    word = wire.check_filter("status", status, wire.STATUSES)
    assert wire.matches(row, kind=chosen, status=word) is found


def test_a_word_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(Invalid) as refused:
        wire.check_filter("type", "spaceship", wire.TYPES)
    assert "desktop-app" in refused.value.allowed
    with pytest.raises(Invalid):
        wire.check_filter("status", "Done", wire.STATUSES)


def test_what_everybody_sees_names_nobody_else() -> None:
    row = wire.session_json(record(ready=NOW), RUNNING)
    assert wire.usage_row(row, owner="ben") == {
        "userid": "",
        "type": "notebook",
        "status": "Running",
        "startTime": wire.moment(NOW),
    }
    assert wire.usage_row(row, owner="ada")["userid"] == "ada"


# Events.


@settings(max_examples=200)
@given(
    st.lists(
        st.builds(
            BackendEvent,
            at=_TIMES,
            warning=st.booleans(),
            reason=st.text(max_size=20),
            message=st.text(max_size=80),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_every_event_is_a_row_of_five(events: list[BackendEvent]) -> None:
    """As the client cuts the table: at two blanks and more, after the first line."""
    table = wire.events_table(events)
    lines = table.strip().split("\n")
    assert len(lines) == len(events) + 1
    for line in lines:
        assert len(re.split(r"\s{2,}", line)) == 5, line


def test_events_are_in_order_and_times_may_miss() -> None:
    early = BackendEvent(at=None, warning=False, reason="Queued", message="place 3  of\n5")
    late = BackendEvent(at=NOW, warning=True, reason="Failed", message="x" * 5000)
    lines = wire.events_table([late, early]).splitlines()
    assert re.split(r"\s{2,}", lines[1]) == ["Normal", "Queued", "place 3 of 5", "<none>", "<none>"]
    assert lines[2].startswith("Warning")
    assert len(lines[2]) < 1200
    assert wire.events_table([]) == "<none>\n"


# The platform.


def test_the_load_has_the_words_and_types_of_the_contract() -> None:
    capacity = Capacity(
        cores=Decimal(640),
        cores_taken=Decimal("12.5"),
        memory=2410 * 10**9,
        memory_taken=123 * 10**9,
    )
    found = wire.stats_json(capacity, SITE)
    assert found["cores"]["requestedCPUCores"] == 12.5
    assert found["cores"]["cpuCoresAvailable"] == 640.0
    assert found["ram"]["requestedRAM"] == "123G"
    assert found["ram"]["ramAvailable"] == "2410G"
    exact = found["ram"]["bytesRequested"], found["ram"]["bytesAvailable"]
    assert exact == (capacity.memory_taken, capacity.memory)
    assert found["cores"]["maxCPUCores"] == {"cpuCores": 8.0, "withRam": "32Gi"}
    assert "gpu" not in found
    with_gpus = capacity.model_copy(update={"gpus": 8, "gpus_taken": 1})
    assert wire.stats_json(with_gpus, SITE)["gpu"] == {"requestedGPU": 1, "gpuAvailable": 8}
    left = Free(nodes=3, cores=Decimal("7.5"), memory=16 * GIB, gpus=1)
    some = capacity.model_copy(update={"free": (left,)})
    assert wire.stats_json(some, SITE)["free"] == [
        {"nodes": 3, "cores": 7.5, "memoryGb": 16, "gpus": 1}
    ]


@pytest.mark.parametrize(
    "default",
    [
        {},
        {"cores": ["0.5", 2, 4], "memory": [4, 8], "gpus": [0, 1, 2]},
        {
            "cores": ["0.25"],
            "flexible": {
                "cores_request": "0.1",
                "cores_limit": "0.5",
                "memory_request": 1,
                "memory_limit": 1,
            },
        },
    ],
)
def test_the_client_takes_the_limits(read: Read, default: dict[str, Any]) -> None:
    policy = site(resources={"default": default})
    context = wire.context_json(policy, ADA.group_names)
    for part in ("cores", "memoryGB"):
        assert all(type(context[part][key]) is int for key in context[part] if key != "options")
        assert all(type(option) is int for option in context[part]["options"])
    found = read("context", context)
    assert found["sessions"] == 3
    assert found["flexible"]["cores"]["max"] == context["cores"]["defaultLimit"]


def test_the_client_takes_the_images(read: Read) -> None:
    catalogue = SITE.catalogue
    containers = catalogue.offered(EVE.group_names)
    digests = {"images.canfar.net/skaha/astroml:26.11": "sha256:" + "0" * 64}
    rows = wire.images_json(containers, catalogue, digests)
    for row in rows:
        read("image", row)
        assert row["id"].count("/") == 2, "the client refuses other forms"
    ids = [row["id"] for row in rows]
    assert ids[0] == "images.canfar.net/skaha/astroml:26.11"
    assert rows[0]["digest"].startswith("sha256:")
    assert "images.canfar.net/skaha/astroml:26.05" not in ids
    assert "images.canfar.net/skaha/vault:1.0" not in ids
    assert wire.repositories(SITE) == ["images.canfar.net", "registry.example.org:5000"]


def test_an_image_that_several_containers_have_is_listed_once() -> None:
    catalogue = SITE.catalogue
    astroml = catalogue.find("astroml", EVE.group_names)
    twin = astroml.model_copy(
        update={"name": "twin", "kinds": (SessionKind.HEADLESS, SessionKind.CONTRIBUTED)}
    )
    (alone, *_) = wire.images_json([astroml], catalogue, {})
    rows = wire.images_json([astroml, twin, astroml], catalogue, {})
    assert len({row["id"] for row in rows}) == len(rows)
    assert rows[0]["types"] == [*alone["types"], "contributed"]
    assert rows[0]["container"] == "astroml"
    assert [kind.value for kind in astroml.kinds] == alone["types"], "the catalogue stays as it is"


def test_the_client_finds_the_service(read: Read) -> None:
    public = "https://hub.example.org/services/sessions"
    found = read("capabilities", wire.capabilities_xml(public))
    assert found == [{"baseurl": public, "version": "v1", "auth_modes": ["oidc"]}]


def test_availability_says_what_does_not_work() -> None:
    spaces = {"v": "http://www.ivoa.net/xml/VOSIAvailability/v1.0"}
    well = ET.fromstring(wire.availability_xml([]))  # noqa: S314 - our own
    assert well.findtext("v:available", namespaces=spaces) == "true"
    ill = ET.fromstring(wire.availability_xml(["a <b> & c"]))  # noqa: S314 - our own
    assert ill.findtext("v:available", namespaces=spaces) == "false"
    assert ill.findtext("v:note", namespaces=spaces) == "a <b> & c"


# Rows of lists.


def test_a_row_is_written_once_for_as_long_as_nothing_changes() -> None:
    rows = Rows()
    session = record(ready=NOW)
    first = rows.of(session, RUNNING)
    assert json.loads(first.text) == wire.session_json(session, RUNNING)
    later = RUNNING.model_copy(update={"seen": NOW, "at": NOW})
    assert rows.of(session, later) is first
    use = Use(cores=Decimal(1), memory=2**30, at=NOW)
    renamed = session.model_copy(update={"name": "Galaxies"})
    for changed in (
        rows.of(session, RUNNING, use=use),
        rows.of(session, RUNNING, shares=1),
        rows.of(session, RUNNING, warning="Soon."),
        rows.of(session, RUNNING.model_copy(update={"detail": "busy"})),
        rows.of(renamed, RUNNING),
    ):
        assert changed.text != first.text
    assert json.loads(rows.of(renamed, RUNNING).text)["name"] == "Galaxies"
