"""What the public client shows, on whichever back end: its output is read, not only its status.

The test modules of the machine and of the cluster make classes of these; they give the fixtures
``hub``, ``ada``, ``client``, ``v1``, and ``pending``: words for ``canfar create`` that give a session
which stays pending.
"""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
import yaml

from tests.support.client import Client, when
from tests.support.hub import Hub, Visitor, wait_for
from tests.support.v1 import OVER, PROBE, V1

LIFETIME = timedelta(days=4)
JOB_LIFETIME = timedelta(days=14)
A_MOMENT = timedelta(minutes=3)
"""Much more than anything here takes, much less than a wrong time zone."""
_VOSPACE = """<capabilities xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<capability standardID="ivo://ivoa.net/std/VOSpace/v2.0#nodes">
<interface xsi:type="vs:ParamHTTP" role="std"><accessURL use="base">{}</accessURL></interface>
</capability></capabilities>"""


def now() -> datetime:
    return datetime.now(UTC)


def create_job(client: Client, name: str, *words: str, more: tuple[str, ...] = ()) -> list[str]:
    """Create a batch job whose command is some words."""
    return client.create("--name", name, *more, "headless", PROBE, "--", *words)


@pytest.fixture
def storage() -> Iterator[str]:
    """Serve what a storage service says of itself: the client asks one before it takes a server.

    There is none on this platform yet, and the client reads nothing else of it here.
    """

    class Storage(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = _VOSPACE.format(f"http://{self.headers['Host']}/nodes").encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Storage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Emptied:
    """Leaves nothing of ada's from one test to the next."""

    @pytest.fixture(autouse=True)
    def _clean(self, v1: V1) -> Iterator[None]:
        yield
        v1.clear()


class Commands(Emptied):
    """Commands that show what becomes of a session where it runs."""

    def test_a_notebook_from_create_to_delete(
        self, hub: Hub, ada: Visitor, client: Client, v1: V1
    ) -> None:
        asked = now()
        said = client.run("create", "--name", "Lab.One", "notebook", PROBE)
        (session,) = client.sessions()
        assert f"Successfully created session 'Lab.One' (ID: {session})" in said.out
        v1.wait(session, "Running")

        row = client.sessions()[session]
        assert (row["name"], row["type"], row["status"]) == ("Lab.One", "notebook", "Running")
        assert row["image"] == PROBE
        assert row["userid"] == "ada"
        for field in ("runAsUID", "runAsGID"):
            assert isinstance(row[field], str)
            assert int(row[field]) > 0
        assert row["supplementalGroups"]
        assert all(isinstance(group, int) for group in row["supplementalGroups"])
        assert abs(when(row["startTime"]) - asked) < A_MOMENT
        assert abs(when(row["expiryTime"]) - asked - LIFETIME) < A_MOMENT
        assert row["isFixedResources"] is False
        assert (row["requestedRAM"], row["requestedCPUCores"]) == (None, None)
        assert row["requestedGPUCores"] == "0"
        assert row["connectURL"].startswith(f"{hub.public}/user/ada/{session}")

        (line,) = client.run("ps").table()
        assert line == {
            "SESSION ID": session,
            "NAME": "Lab.One",
            "KIND": "notebook",
            "STATUS": "Running",
            "IMAGE": PROBE,
            "CREATED": line["CREATED"],
        }
        assert any(word in line["CREATED"] for word in ("moment", "second", "minute")), line
        told = client.run("info", session).pairs()
        assert told["Session ID"] == session
        assert (told["Name"], told["Status"], told["Type"]) == ("Lab.One", "Running", "notebook")
        assert told["UID"] == row["runAsUID"]
        assert told["GID"] == row["runAsGID"]
        assert told["User ID"] == "ada"
        assert told["Groups"] == str(row["supplementalGroups"])
        assert "ago" in told["Start Time"]
        assert told["Expiry Time"].startswith(("3 days", "4 days")), told
        assert told["Connect URL"] == row["connectURL"]

        shown = client.browser()
        said = client.run("open", session)
        assert f"Opening session {session}" in said.out
        wait_for(shown.exists, "the browser to be opened")
        assert shown.read_text().strip() == row["connectURL"]
        entered = ada.client.get(row["connectURL"])
        assert entered.status_code == 200, entered.text[:500]

        said = client.run("delete", "--force", session)
        assert f"'{session}': True" in said.out
        v1.wait_gone(session)
        assert client.sessions() == {}
        wait_for(lambda: session not in hub.launches(), "the session to end")

    def test_use_is_told_while_it_runs(self, client: Client, v1: V1) -> None:
        (session,) = client.create("--name", "busy", "notebook", PROBE)
        v1.wait(session, "Running")

        def measured() -> Any:
            row = v1.row(session) or {}
            return row.get("ramInUse") is not None and row.get("cpuCoresInUse") is not None

        wait_for(measured, "its use to be measured")
        row = client.sessions()[session]
        assert 0 < float(row["ramInUse"]) < 4, "an interpreter and little more"
        assert 0 <= float(row["cpuCoresInUse"]) < 2
        told = client.run("info", session).pairs()
        assert float(told["RAM Usage"].removesuffix(" GB")) > 0
        assert told["CPU Usage"].endswith(" core(s)")

    def test_replicas_run_to_completion(self, client: Client, v1: V1) -> None:
        began = now()
        ids = create_job(
            client,
            "rep",
            "printenv",
            "REPLICA_ID",
            "REPLICA_COUNT",
            "GREETING",
            more=("--replicas", "3", "--env", 'GREETING=grüß=dich, it\'s "me"'),
        )
        assert len(set(ids)) == 3
        for session in ids:
            v1.wait(session, *OVER)
        assert client.sessions() == {}, "without --all only what is live"
        rows = client.sessions("--all")
        assert {rows[session]["name"] for session in ids} == {"rep-1", "rep-2", "rep-3"}
        for session in ids:
            row = rows[session]
            assert (row["status"], row["type"], row["connectURL"]) == ("Completed", "headless", "")
            assert abs(when(row["startTime"]) - began) < A_MOMENT
            assert abs(when(row["expiryTime"]) - began - JOB_LIFETIME) < A_MOMENT
            number = row["name"].removeprefix("rep-")
            said = client.run("logs", session)
            text = said.out.partition(f"Logs for session {session}")[2]
            assert text.split() == [number, "3", "grüß=dich,", "it's", '"me"'], said.out
        table = client.run("ps", "--all", "--kind", "headless").table()
        listed = {line["SESSION ID"]: line["STATUS"] for line in table}
        assert {listed[session] for session in ids} == {"Completed"}

    def test_a_failed_job_says_so(self, client: Client, v1: V1) -> None:
        (session,) = create_job(client, "fails", "ls", "/no/such/place")
        row = v1.wait(session, *OVER)
        assert row["status"] == "Failed"
        rows = client.sessions("--all", "--status", "Failed")
        assert rows[session]["name"] == "fails"
        assert "/no/such/place" in client.run("logs", session).out

    def test_pending_is_said_and_not_opened(
        self, client: Client, v1: V1, pending: tuple[str, ...]
    ) -> None:
        (session,) = client.create("--name", "waits", *pending)
        row = client.sessions("--status", "Pending")[session]
        assert row["status"] == "Pending"
        shown = client.browser()
        said = client.run("open", session)
        assert "not ready to connect (status: Pending)" in said.err
        assert not shown.exists()
        assert client.run("info", session).pairs()["Status"] == "Pending"
        assert v1.status(session) == "Pending"

    def test_load_is_true(self, client: Client, cores: int) -> None:
        (session,) = client.create("--name", "load", "-c", "1", "-m", "2", "notebook", PROBE)
        said = client.run("stats")
        numbers = [word for word in said.out.replace("│", " ").split() if word.isdigit()]
        assert str(cores) in numbers, said.out
        stats = json.loads(
            client.python(
                "import json; from canfar.sessions import Session\n"
                "print(json.dumps(Session().stats()))"
            ).out
        )
        assert stats["cores"]["cpuCoresAvailable"] == cores
        assert 1 <= stats["cores"]["requestedCPUCores"] <= cores + 64
        assert stats["ram"]["requestedRAM"].endswith("G")
        assert float(stats["ram"]["ramAvailable"].removesuffix("G")) > 1
        assert session in client.sessions()


class MoreCommands(Emptied):
    """The other commands, and the client's Python classes: what they show is the session manager's."""

    probe_types: ClassVar = ["notebook", "headless"]
    """What the probe's image may be started as, by all containers that have it."""

    def test_fixed_sizes_are_told_as_asked(self, client: Client, v1: V1) -> None:
        (fixed,) = client.create("--name", "fixed", "-c", "1", "-m", "2", "notebook", PROBE)
        (partly,) = client.create("--name", "partly", "-m", "2", "notebook", PROBE)
        rows = client.sessions()
        assert rows[fixed]["isFixedResources"] is True
        assert rows[fixed]["requestedCPUCores"] == "1"
        assert rows[fixed]["requestedRAM"] == "2.15", "GB of ten to the ninth"
        assert rows[partly]["isFixedResources"] is False
        v1.wait(fixed, "Running")
        wait_for(lambda: (v1.row(fixed) or {}).get("ramInUse"), "its use to be measured")
        told = client.run("info", fixed).pairs()
        assert told["RAM Usage"].endswith("of 2.15 GB"), told
        assert told["CPU Usage"].endswith("of 1 core(s)"), told

    def test_lists_are_filtered(self, client: Client, v1: V1) -> None:
        (lab,) = client.create("--name", "lab", "notebook", PROBE)
        (job,) = create_job(client, "job", "sleep", "600")
        v1.wait(lab, "Running")
        v1.wait(job, "Running")
        assert set(client.sessions()) == {lab, job}
        assert set(client.sessions("--kind", "notebook")) == {lab}
        assert set(client.sessions("--kind", "headless")) == {job}
        assert set(client.sessions("--status", "Running")) == {lab, job}
        assert client.sessions("--status", "Pending") == {}
        quiet = client.run("ps", "--quiet")
        assert set(quiet.out.split()) == {lab, job}
        shown = yaml.safe_load(client.run("ps", "--output", "yaml").out)
        assert {row["id"] for row in shown} == {lab, job}
        # Everything beside a name: a job's end, and that no kind is hidden.
        assert v1.rows(type="HEADLESS", status="running")[0]["id"] == job
        interactive = v1.rows(view="interactive")
        assert {row["type"] for row in interactive} == {"notebook"}
        assert {row["id"] for row in interactive if row["status"] not in OVER} == {lab}
        for row in v1.rows(view="all"):
            assert set(row) <= {"userid", "type", "status", "startTime"}

    def test_events_are_a_table(self, client: Client, v1: V1) -> None:
        (session,) = client.create("--name", "told", "notebook", PROBE)
        v1.wait(session, "Running")
        rows = client.run("events", session).table()
        assert rows, "at least that it was asked for and is ready"
        for row in rows:
            assert list(row) == ["Type", "Reason", "Message", "First-Seen", "Last-Seen"]
            assert row["Message"]
            if not row["First-Seen"].startswith("<"):
                assert abs(when(row["First-Seen"]) - now()) < timedelta(hours=1)

    def test_a_renewed_session_ends_later(self, client: Client, v1: V1) -> None:
        (session,) = client.create("--name", "longer", "notebook", PROBE)
        first = when(v1.wait(session, "Running")["expiryTime"])
        said = client.run("renew", session)
        assert "Successfully renewed 1 session(s)." in said.out
        renewed = when(client.sessions()[session]["expiryTime"])
        assert renewed >= first
        assert abs(renewed - now() - LIFETIME) < timedelta(seconds=30)
        said = client.run("renew", session, "nosuchid")
        assert "Successfully renewed 1 session(s)." in said.out
        assert "Failed to renew 1 session(s): nosuchid" in said.err
        again = when(client.sessions()[session]["expiryTime"])
        assert timedelta(0) <= again - renewed < timedelta(minutes=2)

    def test_prune_takes_what_is_over_by_its_own_word(self, client: Client, v1: V1) -> None:
        done = create_job(client, "old", "true", more=("--replicas", "2"))
        (other,) = create_job(client, "young", "true")
        (live,) = create_job(client, "oldest", "sleep", "600")
        for session in (*done, other):
            v1.wait(session, "Completed")
        v1.wait(live, "Running")
        said = client.run("prune", "old")
        assert "Deleted 2 sessions." in said.out, "Succeeded, the default, is our Completed"
        left = client.sessions("--all")
        assert not set(done) & set(left)
        assert {other, live} <= set(left)
        assert left[live]["status"] == "Running"
        said = client.run("prune", "^oldes", "headless", "Running")
        assert "Deleted 1 sessions." in said.out
        v1.wait_gone(live)

    def test_delete_asks_first(self, client: Client, v1: V1) -> None:
        (session,) = create_job(client, "kept", "sleep", "600")
        v1.wait(session, "Running")
        refused = client.run("delete", session, status=1)
        assert "Confirm deletion of 1 session(s)?" in refused.out
        assert v1.status(session) == "Running"
        client.run("delete", "--force", session)
        v1.wait_gone(session)
        assert f"'{session}': True" in client.run("delete", "--force", session).out, "idempotent"

    def test_images_are_those_of_the_catalogue(self, client: Client) -> None:
        said = client.run("image", "ls")
        # The client leaves out the registry: of one name, that of the site's own comes first.
        rows = {row["IMAGE"]: row["KIND"].split() for row in reversed(said.table())}
        assert rows["canfar-hub/probe:1"] == self.probe_types
        batch = client.run("image", "ls", "--kind", "headless").table()
        assert "canfar-hub/probe:1" in {row["IMAGE"] for row in batch}
        assert all("headless" in row["KIND"].split() for row in batch)

    def test_names_of_another_platform_are_taken(self, client: Client, v1: V1) -> None:
        """Scripts that were written for images.canfar.net run as they are."""
        (session,) = client.create("--name", "alias", "headless", "skaha/probe", "--", "true")
        v1.wait(session, "Completed")

    def test_a_dry_run_creates_nothing(self, client: Client) -> None:
        said = client.run("create", "--dry-run", "--name", "dry", "notebook", PROBE)
        assert "Dry run complete." in said.out
        assert "dry" in said.out
        assert client.sessions() == {}

    def test_what_is_refused_is_said(self, client: Client, v1: V1) -> None:
        said = client.run("create", "notebook", "evil.example.org/x/y:1", status=1)
        assert "Failed to create session(s)" in said.err
        assert client.sessions() == {}
        source = (
            "import sys\n"
            "from canfar.sessions import Session\n"
            "from canfar.exceptions.session import SessionRequestError\n"
            "try:\n"
            "    Session().create(name='no', image='evil.example.org/x/y:1', kind='notebook',"
            " errors='raise')\n"
            "except SessionRequestError as error:\n"
            "    answer = error.errors[1].response\n"
            "    print(answer.status_code, answer.headers['content-type'], answer.text)\n"
        )
        out = client.python(source).out
        assert out.startswith("400 text/plain"), out
        assert "evil.example.org" in out
        assert v1.call("GET", "/v1/refusals").status_code == 200

    def test_without_a_valid_token_it_is_401(self, hub: Hub, client: Client) -> None:
        nobody = Client(client.home, client.url, "0" * 32)
        said = nobody.run("ps", status=1)
        assert "Unable to list sessions" in said.err + said.out
        for token in ("", "0" * 32):
            answer = V1(hub, token).call("GET", "/v1/session", follow_redirects=False)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.headers["Content-Type"].startswith("text/plain")

    @pytest.mark.usefixtures("cores")
    def test_a_server_of_its_own_file(
        self, client: Client, ada: Visitor, storage: str, v1: V1, tmp_path_factory: Any
    ) -> None:
        own = Client.of(ada, tmp_path_factory.mktemp("client"), config=True)
        content = json.loads(own.config_file.read_text())
        content["servers"]["hub"]["storage"]["hub"]["url"] = storage
        own.config_file.write_text(json.dumps(content))
        said = own.run("server", "use", "hub")
        assert "Active server set to hub" in said.out, said
        context = v1.call("GET", "/v1/context").json()
        saved = yaml.safe_load(own.config_file.read_text())["servers"]["hub"]["resources"]
        fixed, flexible = saved["fixed"], saved["flexible"]
        assert fixed["cores"]["max"] == context["cores"]["options"][-1]
        assert fixed["ram"]["max"] == context["memoryGB"]["options"][-1]
        assert flexible["cores"]["max"] == context["cores"]["defaultLimit"]
        assert flexible["ram"]["max"] == context["memoryGB"]["defaultLimit"]
        assert saved["sessions"] == int(context["maxInteractiveSessions"])
        out = own.run("stats").out
        assert "Maximum Resource Requests" in out
        assert "unknown" not in out
        assert own.run("server", "ls", "-o", "json").json()[0]["name"] == "hub"
        (session,) = own.create("--name", "byfile", "notebook", PROBE)
        assert set(own.sessions()) == set(client.sessions()) == {session}

    def test_a_registrys_login_in_its_settings_disturbs_nothing(
        self, client: Client, v1: V1
    ) -> None:
        login = {"CANFAR_REGISTRY__USERNAME": "me", "CANFAR_REGISTRY__SECRET": "canary-login"}
        said = client.run(
            "create", "-n", "login", "-o", "json", "headless", PROBE, "--", "true", **login
        )
        (session,) = said.json()
        v1.wait(session, "Completed")
        assert session in {
            row["id"] for row in client.run("ps", "-a", "-o", "json", **login).json()
        }

    def test_the_overview_and_the_context(self, client: Client) -> None:
        source = (
            "import json\n"
            "from canfar.overview import Overview\n"
            "from canfar.context import Context\n"
            "from canfar.images import Images\n"
            "print(json.dumps([Overview().availability(), Context().resources(),"
            " Images().fetch(kind='headless'), [i.model_dump() for i in Images().details()]]))\n"
        )
        available, context, batch, details = client.python(source).json()
        assert available is True
        assert PROBE in batch
        found = {image["id"]: image["types"] for image in details}
        assert len(found) == len(details), "each image once"
        assert found[PROBE] == self.probe_types
        for part in ("cores", "memoryGB"):
            for key in ("default", "defaultRequest", "defaultLimit"):
                assert isinstance(context[part][key], int), (part, key)
            assert all(isinstance(option, int) for option in context[part]["options"])
        assert isinstance(int(context["maxInteractiveSessions"]), int)

    def test_the_classes(self, client: Client, v1: V1) -> None:
        source = f"""
import json, time
from canfar.sessions import Session
session = Session(errors="raise")
ids = session.create(name="py", image={PROBE!r}, kind="headless", cmd="printenv",
                     args="REPLICA_ID", replicas=3, env={{"X": "1=2"}})
deadline = time.monotonic() + 120
while time.monotonic() < deadline:
    info = session.info(ids)
    if all(each["status"] in ("Completed", "Failed") for each in info):
        break
    time.sleep(0.5)
completed = [each["id"] for each in session.fetch(kind="headless", status="Completed")]
succeeded = [each["id"] for each in session.fetch(kind="headless", status="Succeeded")]
logs, events = session.logs(ids), session.events(ids)
gone = session.destroy_with("py-")
print(json.dumps([ids, info, completed, succeeded, logs, [list(e) for e in events], gone]))
"""
        ids, info, completed, succeeded, logs, events, gone = client.python(source).json()
        assert {each["name"]: each["status"] for each in info} == {
            f"py-{number}": "Completed" for number in (1, 2, 3)
        }
        assert set(ids) <= set(completed)
        assert set(completed) == set(succeeded), "two words for the same"
        assert sorted(logs[session].strip() for session in ids) == ["1", "2", "3"]
        assert sorted(session for [session] in events) == sorted(ids)
        assert {session: gone[session] for session in ids} == dict.fromkeys(ids, True)
        assert not set(ids) & {row["id"] for row in v1.rows()}

    def test_the_asynchronous_classes(self, client: Client, v1: V1) -> None:
        source = f"""
import asyncio, json
from canfar.sessions import AsyncSession
async def main():
    async with AsyncSession(errors="raise") as session:
        ids = await session.create(name="aio", image={PROBE!r}, kind="headless", cmd="sleep",
                                   args="600", replicas=2)
        rows = await session.fetch(kind="headless")
        renewed = await session.renew(ids)
        gone = await session.destroy(ids)
        print(json.dumps([ids, rows, renewed, gone]))
asyncio.run(main())
"""
        ids, rows, renewed, gone = client.python(source).json()
        named = {row["name"] for row in rows if row["id"] in ids}
        assert named == {"aio-1", "aio-2"}
        assert renewed == gone == dict.fromkeys(ids, True)
        for session in ids:
            v1.wait_gone(session)

    def test_replicas_share_the_work(self, client: Client, v1: V1) -> None:
        """The client's own helper cuts a list by what each replica is told of itself."""
        ids = create_job(
            client, "cut", "printenv", "REPLICA_ID", "REPLICA_COUNT", more=("--replicas", "3")
        )
        parts = []
        for session in ids:
            v1.wait(session, "Completed")
            number, count = v1.logs(session).decode().split()
            out = client.python(
                "from canfar.helpers.distributed import chunk, stripe\n"
                "print(*chunk(range(10)), '|', *stripe(range(10)))",
                REPLICA_ID=number,
                REPLICA_COUNT=count,
            ).out
            parts.append(out.split("|"))
        for column in (0, 1):
            together = [int(word) for part in parts for word in part[column].split()]
            assert sorted(together) == list(range(10))


__all__ = ["Commands", "MoreCommands", "storage"]
