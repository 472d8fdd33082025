"""Pictures of grey values as PNG."""

from __future__ import annotations

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY_WITH_ALPHA = 4


def write(rows: list[bytes], width: int) -> bytes:
    """Write a picture.

    Parameters
    ----------
    rows : list of bytes
        From its top, with a grey value and an opacity for each pixel.
    width : int
        Pixels.
    """
    head = struct.pack(">IIBBBBB", width, len(rows), 8, _GREY_WITH_ALPHA, 0, 0, 0)
    # Each row begins with how it is filtered, which it is not.
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 3)
    return _SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
