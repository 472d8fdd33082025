"""An application as they are: tornado's own web server, which Jupyter's are made with.

``python bench/application.py PORT``: every address has a hundred bytes.
"""

from __future__ import annotations

import asyncio
import sys

from tornado.web import Application, RequestHandler


class Small(RequestHandler):
    """A hundred bytes."""

    def get(self) -> None:
        """Give them."""
        self.set_header("Content-Type", "text/plain")
        self.write(b"x" * 100)


async def main(port: int) -> None:
    """Listen."""
    Application([(r".*", Small)]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
