"""Requests as they are read: the same ones in whatever pieces they come, and nothing else as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canfar_spawner.gateway.reading import LONGEST_HEADERS, Message, Reader, Unreadable
from canfar_spawner.gateway.request import Head, Heads, Request


@dataclass
class Side:
    """Stands where a connection does."""

    remote_ip: str = "127.0.0.1"


def reader(heads: Heads | None = None) -> Reader:
    side: Any = Side()

    def make(method: str, target: str, head: Head) -> Request:
        return Request(method, target, head, side)

    return Reader(heads or Heads(), make)


def seen(message: Message) -> tuple[Any, ...]:
    """Give all that a request says."""
    request = message.request
    return (
        request.method,
        request.target,
        list(request.headers.get_all()),
        request.length,
        request.chunked,
        request.upgrades,
        message.keep,
        message.whole,
        b"".join(message.pieces),
    )


NAMES = st.sampled_from(["Accept", "Cookie", "X-Own", "Authorization", "Referer", "Connection"])
VALUES = st.text(
    st.characters(codec="latin1", exclude_categories=["Cc"], exclude_characters="\xa0\xad"),
    max_size=20,
).map(str.strip)
TARGETS = st.from_regex(r"/[!-\"$-~]{0,20}", fullmatch=True)
BODIES = st.binary(max_size=200)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Make a request, of GET or with a body of known length or in chunks."""
    shape = draw(st.sampled_from(["GET", "HEAD", "length", "chunks"]))
    method = shape if shape.isupper() else draw(st.sampled_from(["POST", "PUT", "PATCH"]))
    lines = [f"{method} {draw(TARGETS)} HTTP/1.1", "Host: h"]
    for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=4)):
        lines.append(f"{name}: {'keep-alive' if name == 'Connection' else value}")
    body = draw(BODIES)
    if shape == "length":
        lines.append(f"Content-Length: {len(body)}")
    elif shape == "chunks":
        lines.append("Transfer-Encoding: chunked")
        cut = draw(st.integers(0, len(body)))
        pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        body = b""
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin1") + body


@given(said=st.lists(requests(), min_size=1, max_size=4), data=st.data())
def test_however_it_is_cut_it_is_the_same(said: list[bytes], data: st.DataObject) -> None:
    """Also where the same headers came before: what is known of them is what they say."""
    whole = b"".join(said)
    heads = Heads()
    alone = []
    for _ in range(2):
        each = reader(heads)
        for request in said:
            each.read(request)
        alone.append([seen(message) for message in each.waiting])
    assert alone[0] == alone[1]
    assert len(alone[0]) == len(said)
    for _ in range(2):
        together = reader(heads)
        together.read(whole)
        assert [seen(message) for message in together.waiting] == alone[0]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = reader(heads)
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        if begin < end:
            pieces.read(whole[begin:end])
    assert [seen(message) for message in pieces.waiting] == alone[0]


@given(data=st.binary(max_size=300), first=requests())
def test_whatever_comes_is_a_request_or_unreadable(data: bytes, first: bytes) -> None:
    heads = Heads()
    each = reader(heads)
    each.read(first)
    try:
        each.read(data)
    except Unreadable:
        assert each.over
    if data:
        again = len(each.waiting)
        each.close()
        each.read(first)
        assert len(each.waiting) <= again, "nothing is read after the end"


def test_headers_that_are_known_are_only_those_of_the_very_same_bytes() -> None:
    heads = Heads()
    block = b"Host: h\r\nCookie: a=1\r\n\r\n"
    reader(heads).read(b"GET /one HTTP/1.1\r\n" + block)
    known = heads.again(b"HEAD /two?x HTTP/1.1\r\n" + block)
    assert known is not None
    assert known[:2] == ("HEAD", "/two?x")
    for other in (
        b"GET /two HTTP/1.0\r\n" + block,
        b"POST /two HTTP/1.1\r\n" + block,
        b"get /two HTTP/1.1\r\n" + block,
        b"GET two HTTP/1.1\r\n" + block,
        b"GET  /two HTTP/1.1\r\n" + block,
        b"GET /t\xe4 HTTP/1.1\r\n" + block,
        b"GET /two HTTP/1.1\n\r\n" + block,
        b"GET /two HTTP/1.1\r\nX: y\r\n" + block,
        b"GET /two HTTP/1.1\r\n" + block + b"GET /three HTTP/1.1\r\n\r\n",
        b"GET /two HTTP/1.1\r\n" + block[:-2],
        block,
        b"",
    ):
        assert heads.again(other) is None, other


@pytest.mark.parametrize(
    "more",
    [
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
        b"Connection: close\r\n",
    ],
)
def test_what_goes_on_after_its_headers_is_not_known_by_them(more: bytes) -> None:
    heads = Heads()
    said = b"GET /one HTTP/1.1\r\nHost: h\r\n" + more + b"\r\n"
    each = reader(heads)
    each.read(said + (b"0\r\n\r\n" if b"chunked" in more else b""))
    assert each.waiting[0].whole
    assert heads.again(said) is None


def test_only_so_many_and_none_that_are_long_are_kept() -> None:
    heads = Heads()
    for number in range(1000):
        reader(heads).read(b"GET / HTTP/1.1\r\nHost: h\r\nX: %d\r\n\r\n" % number)
    known = [heads.again(b"GET / HTTP/1.1\r\nHost: h\r\nX: %d\r\n\r\n" % n) for n in range(1000)]
    assert sum(each is not None for each in known) == 64
    assert known[-1] is not None
    long = b"GET / HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n" % (b"x" * 9000)
    reader(heads).read(long)
    assert heads.again(long) is None


@pytest.mark.parametrize("step", [1000, 1 << 18])
@pytest.mark.parametrize("where", ["one header", "many headers", "address"])
def test_headers_end_somewhere(where: str, step: int) -> None:
    long = b"x" * (LONGEST_HEADERS + step)
    said = {
        "one header": b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % long,
        "many headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (len(long) // 2) + b"\r\n",
        "address": b"GET /%b HTTP/1.1\r\n\r\n" % long,
    }[where]
    each = reader()

    def read() -> None:
        for at in range(0, len(said), step):
            each.read(said[at : at + step])

    with pytest.raises(Unreadable):
        read()
    assert not each.waiting


@pytest.mark.parametrize("what", ["the words of a chunk", "what follows the last one"])
def test_what_stands_beside_a_body_ends_somewhere(what: str) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    begin = {
        "the words of a chunk": b"3\r\nabc\r\n3;",
        "what follows the last one": b"3\r\nabc\r\n0\r\nX: ",
    }[what]
    each = reader()
    each.read(head + begin)

    def read() -> None:
        for _ in range(100):
            each.read(b"x" * 10_000)

    with pytest.raises(Unreadable):
        read()
    # A body may take as long as it likes.
    each = reader()
    each.read(head)
    for _ in range(100):
        each.read(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
    each.read(b"0\r\nX: y\r\n\r\n")
    (message,) = each.waiting
    assert message.whole
    assert sum(map(len, message.pieces)) == 1_000_000


def test_many_that_come_at_once_are_not_one_that_is_long() -> None:
    said = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 10_000
    each = reader()
    for at in range(0, len(said), 1 << 17):
        each.read(said[at : at + (1 << 17)])
    assert len(each.waiting) == 10_000


def test_what_follows_a_request_for_a_websocket_is_not_a_request() -> None:
    each = reader()
    said = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    each.read(said + b"GET /one HTTP/1.1\r\n")
    each.read(b"\r\n")
    assert len(each.waiting) == 1
    assert each.waiting[0].request.is_websocket()
    assert each.rest == b"GET /one HTTP/1.1\r\n\r\n"


def test_another_protocol_is_not_spoken() -> None:
    each = reader()
    said = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    each.read(said + b"GET /one HTTP/1.1\r\n\r\n")
    (only,) = each.waiting
    assert not only.request.upgrades
    assert not only.keep
    with_body = said[:-2] + b"Content-Length: 3\r\n\r\nabc"
    with pytest.raises(Unreadable):
        reader().read(b"POST" + with_body[3:])
