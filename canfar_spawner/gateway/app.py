"""``canfar-gateway``: the program."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
import time
from typing import Final

from canfar_spawner.gateway.server import Gateway
from canfar_spawner.gateway.settings import Settings

_SET_DUMPABLE: Final = 4
_BAD_USAGE: Final = 2
_END_WITHIN: Final = 2.0


def main() -> int:
    """Run the gateway until it is told to end."""
    # Nobody of the same user, and no application, reads its memory or its first environment.
    ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    logging.basicConfig(
        level=logging.WARNING,
        format="[%(levelname).1s %(asctime)s gateway] %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%SZ",
    )
    logging.Formatter.converter = time.gmtime
    log = logging.getLogger("canfar.gateway")
    log.setLevel(logging.INFO)
    # What JupyterHub's classes note of single requests may name who made them.
    for name in ("tornado.application", "tornado.general"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        settings = Settings.take(os.environ)
    except (ValueError, KeyError) as error:
        sys.stderr.write(f"canfar-gateway: {_sentence(error)}\n")
        return _BAD_USAGE
    return asyncio.run(serve(settings, log))


def _sentence(error: Exception) -> str:
    """Give what is wrong with the settings, without what they hold."""
    if isinstance(error, KeyError):
        return f"{error.args[0]} must be set"
    return str(error).splitlines()[0]


async def serve(settings: Settings, log: logging.Logger) -> int:
    """Serve until SIGTERM or SIGINT.

    Parameters
    ----------
    settings : Settings
    log : logging.Logger
    """
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    gateway = Gateway(settings, log)
    server = await gateway.listen(settings.address, settings.port)
    # What was imported stays; the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    tasks = gateway.begin()
    log.info("Listening on port %d for %s", settings.port, settings.prefix)
    await over.wait()
    server.close()
    # What passes through may be stuck, on a side that takes nothing: nobody waits for that.
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.wait(tasks, timeout=_END_WITHIN)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_WITHIN):
            await gateway.close()
    return 0
