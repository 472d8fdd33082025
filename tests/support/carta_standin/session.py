"""What the stand-in answers to one open page: files, images, tiles, and scripts passed on to it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.carta_standin import images, wire

Send = Callable[[bytes], Awaitable[None]]
_SCRIPTING = 64
"""The flag of a server that takes scripts."""
_FITS = 3
_IMAGE = -1
"""The region that is the whole image."""
_CURSOR = 0
_STAND_IN = "stand-in for carta_backend"
_LONGEST_SCRIPT = 30.0


@dataclass(frozen=True)
class Folders:
    """Where a server may look, and where it begins."""

    top: Path
    start: Path

    def resolve(self, directory: str, file: str = "") -> Path:
        """Find what the page means by a directory and a file.

        Raises
        ------
        FileNotFoundError
            It is not there, or not below the top.
        """
        asked = directory.replace("$BASE", str(self.start))
        if asked.startswith(f"{self.top}/") or asked == str(self.top):
            asked = asked.removeprefix(str(self.top))
        # Like the real one: behind the top folder, even where it begins with a slash.
        path = Path(f"{self.top}/{asked}/{file}").resolve()
        if not path.is_relative_to(self.top.resolve()) or not path.exists():
            raise FileNotFoundError(f"{directory}/{file} does not exist.")
        return path

    def name(self, path: Path) -> str:
        """Give what the page calls a directory."""
        return str(path.relative_to(self.top.resolve()))


def _file_info(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return {
        "name": path.name,
        "type": _FITS,
        "size": stat.st_size,
        "HDUList": ["0"],
        "date": int(stat.st_mtime),
    }


def _extended(image: images.Image) -> dict[str, Any]:
    axes = image.number("NAXIS")
    return {
        "dimensions": axes,
        "width": image.width,
        "height": image.height,
        "depth": image.depth,
        "stokes": 1,
        "headerEntries": [card.entry() for card in image.cards],
        "computedEntries": [
            {"name": "Name", "value": image.path.name},
            {"name": "Shape", "value": f"[{image.width}, {image.height}, {image.depth}]"},
            {"name": "Drawn by", "value": _STAND_IN},
        ],
        "axesNumbers": {
            "spatialX": 1,
            "spatialY": 2,
            "spectral": 3 if axes > 2 else -1,
            "stokes": -1,
            "depth": 3 if axes > 2 else -1,
        },
    }


@dataclass
class Opened:
    """An image that the page shows, and the plane of it."""

    image: images.Image
    channel: int = 0


@dataclass
class Session:
    """One open page."""

    number: int
    folders: Folders
    send: Send
    opened: dict[int, Opened] = field(default_factory=dict)
    scripts: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _syncs: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def answer(self, raw: bytes) -> None:
        """Answer an event of the page; those that are not known are passed over."""
        name, request, content = wire.read_event(raw)
        handler = getattr(self, f"_{name.lower()}", None) if name else None
        if handler is not None:
            await handler(request, content)

    async def _say(self, name: str, content: dict[str, Any], request: int = 0) -> None:
        await self.send(wire.event(name, request, content))

    async def _register_viewer(self, request: int, _: dict[str, Any]) -> None:
        await self._say(
            "REGISTER_VIEWER_ACK",
            {"sessionId": self.number, "success": True, "serverFeatureFlags": _SCRIPTING},
            request,
        )

    async def _file_list_request(self, request: int, content: dict[str, Any]) -> None:
        try:
            folder = self.folders.resolve(content["directory"])
            entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except OSError as error:
            refused = {"success": False, "message": f"File list failed: {error}"}
            await self._say("FILE_LIST_RESPONSE", refused, request)
            return
        parent = {} if folder == self.folders.top.resolve() else {"parent": folder.parent}
        found: dict[str, Any] = {
            "success": True,
            "directory": self.folders.name(folder),
            **{key: self.folders.name(path) for key, path in parent.items()},
            "files": [_file_info(path) for path in entries if path.suffix == ".fits"],
            "subdirectories": [{"name": path.name} for path in entries if path.is_dir()],
        }
        await self._say("FILE_LIST_RESPONSE", found, request)

    async def _file_info_request(self, request: int, content: dict[str, Any]) -> None:
        try:
            image = images.read_image(self.folders.resolve(content["directory"], content["file"]))
        except (OSError, ValueError) as error:
            refused = {"success": False, "message": str(error)}
            await self._say("FILE_INFO_RESPONSE", refused, request)
            return
        found = {
            "success": True,
            "fileInfo": _file_info(image.path),
            "fileInfoExtended": [{"key": "0", "value": _extended(image)}],
        }
        await self._say("FILE_INFO_RESPONSE", found, request)

    async def _open_file(self, request: int, content: dict[str, Any]) -> None:
        slot = content["fileId"]
        try:
            image = images.read_image(self.folders.resolve(content["directory"], content["file"]))
        except (OSError, ValueError) as error:
            refused = {"success": False, "fileId": slot, "message": str(error)}
            await self._say("OPEN_FILE_ACK", refused, request)
            return
        self.opened[slot] = Opened(image)
        found = {
            "success": True,
            "fileId": slot,
            "fileInfo": _file_info(image.path),
            "fileInfoExtended": _extended(image),
        }
        await self._say("OPEN_FILE_ACK", found, request)
        await self._histogram(slot)

    async def _close_file(self, _: int, content: dict[str, Any]) -> None:
        self.opened.pop(content["fileId"], None)

    async def _histogram(self, slot: int) -> None:
        opened = self.opened[slot]
        await self._say(
            "REGION_HISTOGRAM_DATA",
            {
                "fileId": slot,
                "regionId": _IMAGE,
                "channel": opened.channel,
                "histograms": images.histogram(opened.image, opened.channel),
                "progress": 1.0,
                "config": {"channel": opened.channel, "numBins": -1},
            },
        )

    async def _set_image_channels(self, request: int, content: dict[str, Any]) -> None:
        slot = content["fileId"]
        if slot not in self.opened:
            return
        changed = self.opened[slot].channel != content["channel"]
        self.opened[slot].channel = content["channel"]
        if changed:
            # Before the tiles: the page changes both at once.
            await self._histogram(slot)
        await self._add_required_tiles(request, {**content["requiredTiles"], "fileId": slot})

    async def _add_required_tiles(self, _: int, content: dict[str, Any]) -> None:
        slot, tiles = content["fileId"], content["tiles"]
        if slot not in self.opened:
            return
        opened = self.opened[slot]
        about = {"fileId": slot, "channel": opened.channel, "syncId": next(self._syncs)}
        await self._say("RASTER_TILE_SYNC", {**about, "tileCount": len(tiles)})
        for code in tiles:
            drawn = images.tile(opened.image, opened.channel, code)
            await self._say("RASTER_TILE_DATA", {**about, "tiles": [drawn]})
        await self._say("RASTER_TILE_SYNC", {**about, "tileCount": len(tiles), "endSync": True})

    async def _set_cursor(self, _: int, content: dict[str, Any]) -> None:
        slot, point = content["fileId"], content["point"]
        if slot not in self.opened:
            return
        opened = self.opened[slot]
        x, y = round(point["x"]), round(point["y"])
        if not (0 <= x < opened.image.width and 0 <= y < opened.image.height):
            return
        value = images.plane(opened.image, opened.channel)[y * opened.image.width + x]
        await self._say(
            "SPATIAL_PROFILE_DATA",
            {
                "fileId": slot,
                "regionId": _CURSOR,
                "x": x,
                "y": y,
                "channel": opened.channel,
                "value": value,
            },
        )

    async def script(self, number: int, asked: dict[str, Any]) -> dict[str, Any]:
        """Have the page carry out a script's action, and give what it answers."""
        self.scripts[number] = answered = asyncio.get_running_loop().create_future()
        await self._say(
            "SCRIPTING_REQUEST",
            {
                "scriptingRequestId": number,
                "target": asked["path"],
                "action": asked["action"],
                "parameters": json.dumps(asked["parameters"]),
                "async": asked["async"],
                "returnPath": asked.get("return_path", ""),
            },
        )
        try:
            return await asyncio.wait_for(answered, _LONGEST_SCRIPT)
        finally:
            self.scripts.pop(number, None)

    async def _scripting_response(self, _: int, content: dict[str, Any]) -> None:
        answered = self.scripts.get(content["scriptingRequestId"])
        if answered is not None and not answered.done():
            answered.set_result(content)
