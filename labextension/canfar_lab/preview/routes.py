"""The routes of previews, below those of storage."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from canfar_lab.fits.sources import FitsError
from canfar_lab.preview.headers import Headers
from canfar_lab.preview.helper import Helper
from canfar_lab.storage.errors import Refused, from_os_error
from canfar_lab.storage.handler import StorageHandler
from canfar_lab.transfers import ranges

_SIZE, _ROWS = 256, 100
_SMALLEST, _LARGEST = 16, 1024
_MOST_ROWS = 1000
_MOST_UNITS = 10_000_000
Result = TypeVar("Result")


class Preview(StorageHandler):
    """A look into a file."""

    visitors_may = frozenset({"GET"})

    async def looked(self, asked: dict[str, str], look: Callable[[int], Result]) -> Result:
        """Open a file, look into it and close it, while the server goes on.

        Raises
        ------
        Refused
        """
        if "area" not in asked or "path" not in asked:
            raise Refused("invalid", "A preview needs the parameters area and path.")

        def work() -> Result:
            place = self.areas.locate(asked["area"], asked["path"])
            try:
                file = place.open_file(os.O_RDONLY)
                try:
                    return look(file)
                finally:
                    os.close(file)
            except OSError as error:
                raise from_os_error(error, place.name) from None
            except FitsError as error:
                raise Refused("no-preview", str(error), 422) from None

        return await self.in_thread(work)

    def number(self, asked: dict[str, str], name: str, missing: int, least: int, most: int) -> int:
        """Read a number of the address.

        Raises
        ------
        Refused
        """
        text = asked.get(name)
        if text is None:
            return missing
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise Refused("invalid", f"The parameter {name} must be from {least} to {most}.")
        return int(text)

    def unit(self, asked: dict[str, str]) -> int | None:
        """Read which unit is meant; None where that is not said."""
        return self.number(asked, "hdu", 0, 0, _MOST_UNITS) if "hdu" in asked else None


class Fits(Preview):
    """Headers of a FITS file."""

    async def get(self) -> None:
        """Tell of its units, and all cards of one."""
        asked = self.question("area", "path", "hdu", "first")
        hdu = self.unit(asked) or 0
        first = self.number(asked, "first", 0, 0, _MOST_UNITS)
        headers: Headers = self.settings["canfar_headers"]
        self.write_json(await self.looked(asked, lambda file: headers.look(file, hdu, first)))


class Thumbnail(Preview):
    """A picture of a FITS image."""

    async def get(self) -> None:
        """Draw it, unless the browser has it already."""
        asked = self.question("area", "path", "hdu", "size")
        hdu = self.unit(asked)
        size = self.number(asked, "size", _SIZE, _SMALLEST, _LARGEST)
        helper: Helper = self.settings["canfar_previews"]
        known = self.request.headers.get("If-None-Match")

        def look(file: int) -> tuple[str, bytes | None]:
            said = f"{ranges.tag(os.fstat(file))}/{hdu}/{size}"
            tag = f'"{hashlib.sha256(said.encode()).hexdigest()[:32]}"'
            if tag == known:
                return tag, None
            return tag, helper.ask({"do": "thumbnail", "hdu": hdu, "size": size}, file)

        tag, picture = await self.looked(asked, look)
        self.set_header("ETag", tag)
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
        if picture is None:
            self.set_status(HTTPStatus.NOT_MODIFIED)
            self.finish(set_content_type="image/png")
            return
        self.finish(picture, set_content_type="image/png")


class Table(Preview):
    """First rows of a table."""

    async def get(self) -> None:
        """Read them."""
        asked = self.question("area", "path", "hdu", "rows")
        hdu = self.unit(asked)
        rows = self.number(asked, "rows", _ROWS, 1, _MOST_ROWS)
        helper: Helper = self.settings["canfar_previews"]
        question = {"do": "table", "hdu": hdu, "rows": rows}
        self.set_header("Cache-Control", "private, no-cache")
        self.finish(await self.looked(asked, lambda file: helper.ask(question, file)))


def prepare(settings: dict[str, Any]) -> None:
    """Make what the routes need.

    Parameters
    ----------
    settings : dict
        Of the web application.
    """
    settings["canfar_headers"] = Headers()
    settings["canfar_previews"] = Helper()


def routes(base: str) -> list[tuple[str, type[StorageHandler]]]:
    """Give the routes.

    Parameters
    ----------
    base : str
        The server's address, with a slash at its end.
    """
    at = f"{re.escape(base)}canfar/previews"
    return [(f"{at}/fits", Fits), (f"{at}/thumbnail", Thumbnail), (f"{at}/table", Table)]
