"""Whatever is sent to the session manager: a documented answer, never a 500, never half a session."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import shlex
import socket
import unicodedata
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path

import httpx
import pytest

from tests.local.test_jobs import HOSTILE
from tests.support.hub import Hub, Visitor, wait_for
from tests.support.v1 import OVER, PROBE, V1

LONGEST_LINE = 1024
pytestmark = pytest.mark.environment("proxy")
LASTING = True


@pytest.fixture
def v1(ada: Visitor) -> Iterator[V1]:
    """Call as ada; nothing of hers is left."""
    found = V1.of(ada)
    yield found
    found.clear()


@pytest.fixture(autouse=True)
def _short_lines(hub: Hub) -> Iterator[None]:
    """Whatever was sent, no line of the log is long and nothing failed unforeseen."""
    begin = hub.log.stat().st_size
    yield
    with hub.log.open("rb") as log:
        log.seek(begin)
        written = log.read()
    longest = max(written.splitlines(), key=len, default=b"")
    assert len(longest) <= LONGEST_LINE, longest[:LONGEST_LINE]
    assert b"Traceback" not in written, written.decode(errors="replace")[-4000:]


# What people and attackers send.

NAMES = [
    *("", " ", "a", "-", ".", "..", "../../etc/passwd", "a/b", "a\0b", "a\nb", "a" * 80, "a" * 81),
    *(
        "$(id)",
        "`id`",
        "{username}",
        "%s",
        "<script>alert(1)</script>",
        "'; DROP TABLE sessions;--",
    ),
    *("Ångström", "Å", "星系", "\u202eabc", "\ufeffabc", "a\u0300\u0301", "\ud7ff", "🜨"),
    *("a" * 10_000, "A-b_c.d+e", "null", "None", "0", "true", "a b", " a", "a ", "a  b"),
]
IMAGES = [
    *("", "/", "probe", "probe:1", "a/b", "a/b/c/d/e:1", f"{PROBE}@sha256:0", PROBE + "\n", " "),
    *("registry.example.org/canfar-hub/probe:nosuch", "registry.example.org/canfar-hub/probe"),
    *("registry.example.org.evil.org/canfar-hub/probe:1", "evil.org/registry.example.org/x:1"),
    *(
        "http://registry.example.org/canfar-hub/probe:1",
        "registry.example.org:80/canfar-hub/probe:1",
    ),
    *("registry.example.org/canfar-hub/../../evil:1", "user@registry.example.org/canfar-hub/x:1"),
    *(
        "registry.example.org/canfar-hub/probe:1 --privileged",
        "$(id)/a/b:1",
        "\uff41/b/c:1",
        "x" * 9000,
    ),
]
NUMBERS = [
    *(
        "",
        "0",
        "-1",
        "1e3",
        "1e400",
        "nan",
        "inf",
        "0x10",
        "1_000",
        "\u0661",
        "\uff11",
        "1.5",
        "0.1",
        ".5",
    ),
    *("1.", "+1", " 1", "1 ", "1;2", "1,5", "9" * 13, "9" * 5000, "1" + "0" * 12, "true", "null"),
    *("1", "2", "4", "8", "3", "1.000", "2.0000", "01", "00000000001", "1\n", "[1]", "{}"),
]
ENV = [
    *(
        "",
        "=",
        "=x",
        "A",
        "A=",
        "A=b=c==",
        "1A=x",
        "A B=x",
        "A-B=x",
        "Ä=x",
        "A\n=x",
        "A\0=x",
        "A=\0",
    ),
    *("PATH=x", "HOME=x", "LD_PRELOAD=/tmp/x.so", "JUPYTERHUB_API_TOKEN=x", "CANFAR_SESSION_ID=x"),
    *("JUPYTER_CONFIG_DIR=x", "XDG_RUNTIME_DIR=x", "A=" + "x" * 40_000, "A" * 200 + "=x"),
    *("A=$(VAR)", "A=line\nline", "A='\"`", "A={username}", "A=%(x)s", "A=🜨"),
]


def well_refused(answer: httpx.Response) -> bool:
    """Say whether it was refused in a sentence; anything but that and being taken is a fault."""
    if answer.status_code == 200:
        return False
    if answer.status_code == 431:
        return True  # the proxy's: an address that long reaches nobody
    # 424: this machine has no such program.
    assert answer.status_code in (400, 403, 413, 424), (answer.status_code, answer.text)
    assert answer.text.strip(), "a sentence"
    assert len(answer.content) < 4096
    assert "Traceback" not in answer.text
    return True


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name(v1: V1, name: str) -> None:
    answer = v1.create(name=name, cmd="true")
    if not well_refused(answer):
        row = v1.row(answer.text.strip())
        assert row is not None
        assert row["name"] == (unicodedata.normalize("NFC", name) or "probe")


@pytest.mark.parametrize("image", IMAGES, ids=range(len(IMAGES)))
def test_an_image(v1: V1, image: str) -> None:
    answer = v1.create(image=image, cmd="true")
    if not well_refused(answer):
        row = v1.row(answer.text.strip())
        assert row is not None
        assert row["image"] == PROBE
        assert image in (PROBE, PROBE.rpartition(":")[0]), "nothing that looks like it"


@pytest.mark.parametrize("field", ["cores", "ram", "gpus"])
def test_a_number(v1: V1, field: str) -> None:
    for text in NUMBERS:
        fixed = {"cores": "1", "ram": "1", "gpus": "0"} | {field: text}
        answer = v1.create(**fixed, cmd="sleep", args="600")
        if well_refused(answer):
            continue
        row = v1.row(answer.text.strip())
        assert row is not None
        told = {"cores": "requestedCPUCores", "ram": "requestedRAM", "gpus": "requestedGPUCores"}
        if not text and field != "gpus":
            assert row["isFixedResources"] is False, "as if it had not been given"
            continue
        try:
            given = Decimal(text or "0")
        except InvalidOperation:
            pytest.fail(f"{text!r} was taken for a number")
        if field == "ram":
            assert row["requestedRAM"] == f"{given * 2**30 / 10**9:.2f}"
        else:
            assert Decimal(row[told[field]]) == given
        v1.delete(row["id"])


@pytest.mark.parametrize("pair", ENV, ids=range(len(ENV)))
def test_a_variable(v1: V1, pair: str) -> None:
    name, equals, value = pair.partition("=")
    answer = v1.create(pair, name="env", cmd="env", args="-0")
    if well_refused(answer):
        assert not value or len(value) < 6 or value not in answer.text, "it may be a secret"
        return
    session = answer.text.strip()
    assert v1.wait(session, *OVER)["status"] == "Completed"
    if pair:
        assert equals
        assert pair.encode() in v1.logs(session).split(b"\0")
        assert name not in {"PATH", "HOME"}


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "no-such-kind"},
        {"type": "desktop-app"},
        {"type": "carta"},
        {"type": ""},
        {"cmd": "\0"},
        {"cmd": "x" * 40_000},
        {"cmd": "no-such-program"},
        {"args": "without cmd"},
        {"cmd": "true", "args": "x " * 5000},
        {"type": "notebook", "cmd": "true"},
        {"replicas": "3"},
        {"user": "ben"},
        {"owner": "ben"},
        {"privileged": "true"},
        {"profile": "probe"},
        {"registry_secret": "x"},
        {"name": "x", "container": "probe"},
    ],
    ids=str,
)
def test_other_fields(v1: V1, fields: dict[str, str]) -> None:
    answer = v1.create(**fields)
    if not well_refused(answer):
        row = v1.row(answer.text.strip())
        assert row is not None
        assert row["userid"] == "ada"
        assert fields in ({"type": ""}, {"cmd": "no-such-program"}), "nothing is passed over"
        v1.delete(row["id"])


def test_words_and_variables_arrive_byte_for_byte(v1: V1) -> None:
    """From the query of the client to the program, through every layer between."""
    words = v1.created(name="words", cmd="printf", args=shlex.join(["%s\\0", *HOSTILE]))
    pairs = [f"NAME{number}={text}" for number, text in enumerate(HOSTILE)]
    variables = v1.created(*pairs, name="variables", cmd="env", args="-0")
    form = v1.call(
        "POST",
        "/v1/session",
        data={
            "name": "form",
            "image": PROBE,
            "type": "headless",
            "cmd": "printf",
            "args": shlex.join(["%s\\0", *HOSTILE]),
            "env": pairs,
        },
    )
    assert form.status_code == 200, form.text
    for session in (words, variables, form.text.strip()):
        assert v1.wait(session, *OVER)["status"] == "Completed"
    expected = [text.encode() for text in HOSTILE]
    assert v1.logs(words).split(b"\0")[:-1] == expected
    assert v1.logs(form.text.strip()).split(b"\0")[:-1] == expected
    told = v1.logs(variables).split(b"\0")
    for pair in pairs:
        assert pair.encode() in told
    for session in (words, variables):
        row = v1.row(session)
        assert "Ångström" not in str(row), "values of variables are told to nobody"


def memory(pid: int) -> int:
    """Give how many bytes a process has in memory."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def test_bodies_that_are_too_large(hub: Hub, v1: V1) -> None:
    """Past the proxy, which answers in the place of a server that closes before it has read all."""
    v1 = V1(hub, v1.token, direct=True)
    pid = hub.manager_pid()
    assert pid is not None
    huge = b"name=" + b"x" * 10_000_000
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    before = 0
    for number in range(12):
        with contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            # A server may close before it has read what it does not want.
            answer = v1.call("POST", "/v1/session", content=huge, headers=kind)
            assert answer.status_code in (400, 413), answer.text
        if number == 1:
            before = memory(pid)
    assert hub.manager_pid() == pid
    assert memory(pid) - before < 48_000_000, "nothing of it is kept"
    assert v1.call("GET", "/v1/session").status_code == 200


def test_ten_thousand_variables(v1: V1) -> None:
    pairs = [f"V{number}=x" for number in range(10_000)]
    answer = v1.call("POST", "/v1/session", data={"name": "x", "image": PROBE, "env": pairs})
    assert answer.status_code == 400
    assert answer.text.strip()
    by_query = v1.create(*pairs[:1000], cmd="true")
    assert by_query.status_code in (400, 413, 414, 431)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"name=%ff%fe&image=" + PROBE.encode(), "application/x-www-form-urlencoded"),
        (b"\xff\xfe\xfd", "application/x-www-form-urlencoded"),
        (b"%", "application/x-www-form-urlencoded"),
        (b"[" * 200_000, "application/json"),
        (b'{"a":' * 100_000, "application/json"),
        (b'{"name": "\\ud800"}', "application/json"),
        (b'{"name": "x", "image": "y", "cores": 1e400}', "application/json"),
        (b'{"name": "x", "image": "y", "cores": ' + b"9" * 5000 + b"}", "application/json"),
        (b"{", "application/json"),
        (b"null", "application/json"),
        (b"\0" * 100, "application/octet-stream"),
        (b"<x/>", "text/xml"),
        (b"--b\r\n", "multipart/form-data; boundary=b"),
        (b"x", "multipart/form-data"),
        (b"x", "application/json; charset=utf-99"),
    ],
)
def test_bodies_that_are_none(v1: V1, content: bytes, kind: str) -> None:
    before = {row["id"] for row in v1.rows()}
    for method, path in (
        ("POST", "/v1/session"),
        ("PATCH", "/v1/session/nosuchid"),
        ("POST", "/v1/session/nosuchid/shares"),
        ("POST", "/v1/heartbeat"),
        ("POST", "/v1/events"),
    ):
        answer = v1.call(method, path, content=content, headers={"Content-Type": kind})
        assert answer.status_code in (400, 401, 403, 404, 413, 415), (path, answer.text)
    assert {row["id"] for row in v1.rows()} == before


@pytest.mark.parametrize(
    "query",
    [b"name=%ff", b"env=%ff%3d1", b"%", b"status=%00", b"view=%ff", b"=", b"&&&", b"name=a&name=b"],
)
def test_queries_that_are_none(v1: V1, query: bytes) -> None:
    for method in ("GET", "POST"):
        answer = v1.client.request(
            method,
            httpx.URL(f"{v1.root}/v1/session").copy_with(query=query),
            headers={"Authorization": f"Bearer {v1.token}"},
        )
        assert answer.status_code in (200, 400), (method, answer.text)
        assert method == "GET" or answer.status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/v1/session/..%2f..%2fhealth",
            "/v1/session/%00",
            "/v1/session/%ff",
            "/v1/session/" + "x" * 5000,
        ),
        *("/v1/session/a%0d%0aX: y", "/v1/nothing", "/v2/session", "/v0/session", "/v1/session//"),
        *("/v1/session/abcdefgh/app", "/v1/session/abcdefgh/nothing", "/logControl"),
    ],
)
def test_addresses_that_are_none(hub: Hub, v1: V1, path: str) -> None:
    """Past the proxy, which fails by itself at an address that is no UTF-8."""
    v1 = V1(hub, v1.token, direct=True)
    for method in ("GET", "POST", "DELETE"):
        answer = v1.call(method, path)
        assert answer.status_code in (200, 400, 404, 405, 414), (method, answer.status_code)
        if answer.status_code == 200:
            # Deleting what is not there is done already.
            assert method == "DELETE" or path.endswith("/app")
        assert "X" not in answer.headers


@pytest.mark.parametrize(
    "token",
    ["x" * 8000, "Ã", "a b", "null", "' OR 1=1 --", "../../x", "0" * 64, "%00", "{}"],
)
def test_tokens_that_are_none(hub: Hub, token: str) -> None:
    answer = httpx.get(
        f"{hub.url}/services/sessions/v1/session",
        headers={b"Authorization": b"Bearer " + token.encode()},
        timeout=60,
    )
    assert answer.status_code in (400, 401, 431), answer.text


def test_a_body_that_comes_slowly_holds_nobody_up(hub: Hub, v1: V1) -> None:
    """Twenty senders that never finish; everybody else is answered."""
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", hub.port)))
            link.sendall(
                b"POST /services/sessions/v1/session HTTP/1.1\r\nHost: x\r\n"
                + f"Authorization: Bearer {v1.token}\r\n".encode()
                + b"Content-Type: application/x-www-form-urlencoded\r\n"
                b"Content-Length: 900000\r\n\r\nname="
            )
        for _ in range(5):
            assert v1.call("GET", "/v1/session", timeout=30).status_code == 200
        session = v1.created(name="beside", cmd="true")
        v1.wait(session, *OVER)
    wait_for(lambda: v1.call("GET", "/v1/session").status_code == 200, "still an answer")


def test_a_registrys_login_that_is_none(v1: V1) -> None:
    for value in ("x", "====", "Og==", "dXNlcg==", "/" * 20_000, "dXNlcjpzZWNyZXQ"):
        answer = v1.call(
            "POST",
            "/v1/session",
            params={"name": "x", "image": "images.canfar.net/skaha/none:1", "type": "headless"},
            headers={"X-Skaha-Registry-Auth": value},
        )
        assert answer.status_code in (400, 403, 431), answer.text
        assert value not in answer.text


def where(hub: Hub, secret: str) -> list[str]:
    """Find a secret in the hub's and the manager's files, in answers and in arguments."""
    found = [place for place, content in hub.evidence() if secret.encode() in content]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if secret.encode() in path.read_bytes():
                found.append(str(path))
    return found


def test_what_is_secret_is_kept_nowhere(hub: Hub, v1: V1) -> None:
    """Values of variables and a registry's login: not in files, databases, logs, answers."""
    value, login = (f"canary-{secrets.token_hex(16)}" for _ in range(2))
    header = {"X-Skaha-Registry-Auth": base64.b64encode(f"me:{login}".encode()).decode()}

    def post(**fields: str) -> httpx.Response:
        pairs = {"name": "secret", "image": PROBE, "type": "headless", "cmd": "true"}
        return v1.call(
            "POST",
            "/v1/session",
            params={**pairs, **fields, "env": f"SECRET={value}"},
            headers=header,
        )

    taken = [post(), post(cmd="sleep", args="600"), post(type="notebook", cmd="")]
    refused = [
        post(image="evil.example.org/x/y:1"),
        post(image="images.canfar.net/skaha/none:1"),
        post(cores="many"),
    ]
    assert [answer.status_code for answer in taken] == [200, 200, 200]
    assert {answer.status_code for answer in refused} <= {400, 403}
    done, running, lab = (answer.text.strip() for answer in taken)
    v1.wait(done, "Completed")
    v1.wait(running, "Running")
    v1.wait(lab, "Running")
    told = [*taken, *refused, v1.call("GET", "/v1/session"), v1.call("GET", "/v1/refusals")]
    told += [v1.call("GET", "/v1/history")]
    told += [v1.call("GET", f"/v1/session/{running}{view}") for view in ("", "?view=events")]
    for secret in (value, login, header["X-Skaha-Registry-Auth"]):
        assert where(hub, secret) == []
        for answer in told:
            assert secret not in answer.text, answer.request.url
    v1.clear()
    for secret in (value, login):
        assert where(hub, secret) == [], "nor after the end"
