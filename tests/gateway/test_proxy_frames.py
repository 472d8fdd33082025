"""Frames of WebSockets: what counts as use, and what the gateway itself sends and reads."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from canfar_spawner.gateway.stream import accept_key, frame, unmask
from canfar_spawner.gateway.websocket import FrameWatch

CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
frames = st.tuples(
    st.sampled_from([CONTINUED, TEXT, BINARY, CLOSE, PING, PONG]),
    st.one_of(st.integers(0, 130), st.sampled_from([125, 126, 65535, 65536, 70_000])),
)


def masked(opcode: int, size: int) -> bytes:
    """Give a frame as browsers send it."""
    plain = frame(opcode, bytes(size))
    head = len(plain) - size
    mask = os.urandom(4)
    content = unmask(plain[head:], mask, 0)
    return bytes((plain[0], plain[1] | 0x80)) + plain[2:head] + mask + content


@given(st.lists(frames, max_size=6), st.data())
def test_what_carries_data_is_seen_however_the_bytes_arrive(
    sent: list[tuple[int, int]], data: st.DataObject
) -> None:
    stream = b"".join(masked(*each) for each in sent)
    wanted = any(opcode in (CONTINUED, TEXT, BINARY) and size > 1 for opcode, size in sent)
    watch = FrameWatch()
    assert watch.feed(stream) is wanted
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    watch = FrameWatch()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert any([watch.feed(piece) for piece in pieces]) is wanted  # noqa: C419 - each is to be fed


def test_each_byte_by_itself() -> None:
    watch = FrameWatch()
    stream = masked(PING, 5) + masked(TEXT, 300) + masked(PONG, 0) + masked(BINARY, 2)
    assert sum(watch.feed(bytes([byte])) for byte in stream) == 2


def test_signs_of_life_are_no_use() -> None:
    watch = FrameWatch()
    assert not watch.feed(masked(TEXT, 1) + masked(PING, 100) + masked(TEXT, 0) + masked(CLOSE, 2))


def test_the_answer_to_a_handshake_is_that_of_the_protocols_own_example() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4), st.integers(0, 300))
def test_a_mask_comes_off_in_pieces_as_in_one(content: bytes, mask: bytes, cut: int) -> None:
    whole = bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))
    assert unmask(content, mask, 0) == whole
    cut = min(cut, len(content))
    assert unmask(content[:cut], mask, 0) + unmask(content[cut:], mask, cut) == whole
