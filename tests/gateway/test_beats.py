"""What a page says of itself again and again is no use of the session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canfar_spawner.core.kinds import KINDS, SessionKind
from canfar_spawner.gateway.websocket import FrameWatch

BEATS = frozenset(beat.encode() for beat in KINDS[SessionKind.CARTA].application.beats)
TEXT, BINARY, PING = 0x81, 0x82, 0x89
BEAT = (TEXT, b"PING")


def masked(first: int, content: bytes, *, wide: bool = False) -> bytes:
    mask = b"\x01\x80\xff\x2a"
    size = len(content)
    length = (
        bytes([0x80 | 126, size >> 8, size & 255]) if wide or size > 125 else bytes([0x80 | size])
    )
    return bytes([first]) + length + mask + bytes(b ^ mask[at % 4] for at, b in enumerate(content))


@pytest.mark.parametrize(
    ("frame", "used"),
    [
        (masked(*BEAT), False),
        (masked(TEXT, b"PINGS"), True),
        (masked(TEXT, b"PONG"), True),
        (masked(BINARY, b"PING"), True),
        (masked(0x01, b"PING"), True),
        (masked(TEXT, b"12345678"), True),
        (masked(TEXT, b"x" * 300), True),
        # Longer than it need be: nobody's page does that, and it is not waited for.
        (masked(TEXT, b"12345678", wide=True), True),
    ],
)
def test_it_is_told_from_what_somebody_does(frame: bytes, *, used: bool) -> None:
    assert FrameWatch(BEATS).feed(frame) is used
    watch = FrameWatch(BEATS)
    assert any([watch.feed(bytes([each])) for each in frame]) is used  # noqa: C419 - all are fed


def test_other_kinds_have_none() -> None:
    assert FrameWatch().feed(masked(*BEAT))


frames = st.one_of(
    st.just(BEAT),
    st.tuples(st.sampled_from([TEXT, BINARY, PING]), st.binary(max_size=12)),
)


@given(st.lists(frames, max_size=6), st.data())
def test_however_the_bytes_arrive(sent: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(masked(*each) for each in sent)
    wanted = any(
        first != PING and len(content) > 1 and (first, content) != BEAT for first, content in sent
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    watch = FrameWatch(BEATS)
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert any([watch.feed(piece) for piece in pieces]) is wanted  # noqa: C419 - all are fed
