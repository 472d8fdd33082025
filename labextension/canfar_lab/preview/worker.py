"""The helper process that draws and reads tables, so that the server never computes.

It gets open files, and no names: what it may read is decided before. It ends when nobody is there
who could ask.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import struct
from typing import Any

from canfar_lab.fits.sources import FitsError, source
from canfar_lab.preview import separated, tables, thumbnails

HEAD = struct.Struct(">I?")
"""Bytes of the answer, and whether it is what was asked for."""
LONGEST = 4096
_MOST_MEMORY = 8 << 30
"""Bytes of addresses: a file that leads to more is given up, and not the session."""


def answer(asked: dict[str, Any], descriptor: int) -> bytes:
    """Answer one question about an open file.

    Raises
    ------
    FitsError
    """
    hdu = asked.get("hdu")
    if asked["do"] == "thumbnail":
        return thumbnails.thumbnail(descriptor, hdu, asked["size"])
    at = source(descriptor)
    start = at.read(0, separated.HEAD)
    if start.startswith(b"SIMPLE  ="):
        found = tables.first_rows(at, tables.find(at, hdu), asked["rows"])
    else:
        found = separated.first_rows(start, asked["rows"], complete=len(start) < separated.HEAD)
    return json.dumps(found, separators=(",", ":")).encode("ascii")


def serve(channel: socket.socket) -> None:
    """Answer until there is nobody who asks."""
    while True:
        line, descriptors, _, _ = socket.recv_fds(channel, LONGEST, 1)
        if not line or not descriptors:
            return
        try:
            body, good = answer(json.loads(line), descriptors[0]), True
        except FitsError as error:
            body, good = str(error).encode(), False
        except MemoryError:
            body, good = b"There is not enough memory to look into this file.", False
        except Exception:  # noqa: BLE001 - of what others have written, anything may be wrong
            body, good = b"The file is damaged, or made in a way that is not known here.", False
        finally:
            os.close(descriptors[0])
        channel.sendall(HEAD.pack(len(body), good) + body)


def main() -> None:
    """Serve the process that started this one, over the socket that is its input."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _MOST_MEMORY if hard == resource.RLIM_INFINITY else min(_MOST_MEMORY, hard)
    if soft == resource.RLIM_INFINITY or soft > wanted:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    # One core is enough for pictures of this size, and the others are the owner's.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    os.nice(5)
    with socket.socket(fileno=os.dup(0)) as channel:
        serve(channel)


if __name__ == "__main__":
    main()
