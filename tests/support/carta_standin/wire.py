"""The messages of CARTA's protocol that the stand-in speaks, and their bytes.

A message is a dictionary by field; what has its default is left out and comes back as that. The
fields and numbers are those of https://github.com/CARTAvis/carta-protobuf; a test compares them with
the page's own.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

ICD_VERSION = 30
"""Of carta-frontend 6.0.0."""
EVENTS = {
    "REGISTER_VIEWER": (1, "RegisterViewer"),
    "FILE_LIST_REQUEST": (2, "FileListRequest"),
    "FILE_INFO_REQUEST": (3, "FileInfoRequest"),
    "OPEN_FILE": (4, "OpenFile"),
    "SET_IMAGE_CHANNELS": (6, "SetImageChannels"),
    "SET_CURSOR": (7, "SetCursor"),
    "CLOSE_FILE": (13, "CloseFile"),
    "REGISTER_VIEWER_ACK": (18, "RegisterViewerAck"),
    "FILE_LIST_RESPONSE": (19, "FileListResponse"),
    "FILE_INFO_RESPONSE": (20, "FileInfoResponse"),
    "OPEN_FILE_ACK": (21, "OpenFileAck"),
    "REGION_HISTOGRAM_DATA": (23, "RegionHistogramData"),
    "SPATIAL_PROFILE_DATA": (25, "SpatialProfileData"),
    "ADD_REQUIRED_TILES": (30, "AddRequiredTiles"),
    "RASTER_TILE_DATA": (32, "RasterTileData"),
    "RASTER_TILE_SYNC": (49, "RasterTileSync"),
    "SCRIPTING_REQUEST": (59, "ScriptingRequest"),
    "SCRIPTING_RESPONSE": (60, "ScriptingResponse"),
}
"""Number and message of each event."""

# Field: number and type; a star stands for any number of them, "of" for a message.
MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "RegisterViewer": {
        "sessionId": (1, "fixed32"),
        "apiKey": (2, "string"),
        "clientFeatureFlags": (3, "fixed32"),
    },
    "RegisterViewerAck": {
        "sessionId": (1, "fixed32"),
        "success": (2, "bool"),
        "message": (3, "string"),
        "sessionType": (4, "enum"),
        "serverFeatureFlags": (5, "fixed32"),
    },
    "FileListRequest": {"directory": (1, "string"), "filterMode": (2, "enum")},
    "FileListResponse": {
        "success": (1, "bool"),
        "message": (2, "string"),
        "directory": (3, "string"),
        "parent": (4, "string"),
        "files": (5, "*of FileInfo"),
        "subdirectories": (6, "*of DirectoryInfo"),
    },
    "FileInfo": {
        "name": (1, "string"),
        "type": (2, "enum"),
        "size": (3, "sfixed64"),
        "HDUList": (4, "*string"),
        "date": (5, "sfixed64"),
    },
    "DirectoryInfo": {"name": (1, "string"), "itemCount": (2, "sfixed32"), "date": (3, "sfixed64")},
    "FileInfoRequest": {"directory": (1, "string"), "file": (2, "string"), "hdu": (3, "string")},
    "FileInfoResponse": {
        "success": (1, "bool"),
        "message": (2, "string"),
        "fileInfo": (3, "of FileInfo"),
        "fileInfoExtended": (4, "*of NamedInfo"),
    },
    # A map's entry has no name of its own.
    "NamedInfo": {"key": (1, "string"), "value": (2, "of FileInfoExtended")},
    "FileInfoExtended": {
        "dimensions": (1, "sfixed32"),
        "width": (2, "sfixed32"),
        "height": (3, "sfixed32"),
        "depth": (4, "sfixed32"),
        "stokes": (5, "sfixed32"),
        "headerEntries": (7, "*of HeaderEntry"),
        "computedEntries": (8, "*of HeaderEntry"),
        "axesNumbers": (9, "of AxesNumbers"),
    },
    "HeaderEntry": {
        "name": (1, "string"),
        "value": (2, "string"),
        "entryType": (3, "enum"),
        "numericValue": (4, "double"),
        "comment": (5, "string"),
    },
    "AxesNumbers": {
        "spatialX": (1, "sfixed32"),
        "spatialY": (2, "sfixed32"),
        "spectral": (3, "sfixed32"),
        "stokes": (4, "sfixed32"),
        "depth": (5, "sfixed32"),
    },
    "OpenFile": {
        "directory": (1, "string"),
        "file": (2, "string"),
        "hdu": (3, "string"),
        "fileId": (4, "sfixed32"),
    },
    "OpenFileAck": {
        "success": (1, "bool"),
        "fileId": (2, "sfixed32"),
        "message": (3, "string"),
        "fileInfo": (4, "of FileInfo"),
        "fileInfoExtended": (5, "of FileInfoExtended"),
        "fileFeatureFlags": (6, "fixed32"),
    },
    "CloseFile": {"fileId": (1, "sfixed32")},
    "SetImageChannels": {
        "fileId": (1, "sfixed32"),
        "channel": (2, "sfixed32"),
        "stokes": (3, "sfixed32"),
        "requiredTiles": (4, "of AddRequiredTiles"),
    },
    "AddRequiredTiles": {"fileId": (1, "sfixed32"), "tiles": (2, "*sfixed32")},
    "RasterTileData": {
        "fileId": (1, "sfixed32"),
        "channel": (2, "sfixed32"),
        "stokes": (3, "sfixed32"),
        "compressionType": (4, "enum"),
        "compressionQuality": (5, "float"),
        "syncId": (6, "sfixed32"),
        "animationId": (7, "sfixed32"),
        "tiles": (8, "*of TileData"),
    },
    "TileData": {
        "layer": (1, "sfixed32"),
        "x": (2, "sfixed32"),
        "y": (3, "sfixed32"),
        "width": (4, "sfixed32"),
        "height": (5, "sfixed32"),
        "imageData": (6, "bytes"),
        "nanEncodings": (7, "bytes"),
        "mip": (8, "sfixed32"),
    },
    "RasterTileSync": {
        "fileId": (1, "sfixed32"),
        "channel": (2, "sfixed32"),
        "stokes": (3, "sfixed32"),
        "syncId": (4, "sfixed32"),
        "animationId": (5, "sfixed32"),
        "tileCount": (6, "sfixed32"),
        "endSync": (7, "bool"),
    },
    "RegionHistogramData": {
        "fileId": (1, "sfixed32"),
        "regionId": (2, "sfixed32"),
        "channel": (3, "sfixed32"),
        "stokes": (4, "sfixed32"),
        "histograms": (5, "of Histogram"),
        "progress": (6, "float"),
        "config": (7, "of HistogramConfig"),
    },
    "Histogram": {
        "numBins": (1, "sfixed32"),
        "binWidth": (2, "double"),
        "firstBinCenter": (3, "double"),
        "bins": (4, "*sfixed32"),
        "mean": (5, "double"),
        "stdDev": (6, "double"),
    },
    "HistogramConfig": {"channel": (2, "sfixed32"), "numBins": (4, "sfixed32")},
    "SetCursor": {"fileId": (1, "sfixed32"), "point": (2, "of Point")},
    "Point": {"x": (1, "float"), "y": (2, "float")},
    "SpatialProfileData": {
        "fileId": (1, "sfixed32"),
        "regionId": (2, "sfixed32"),
        "x": (3, "sfixed32"),
        "y": (4, "sfixed32"),
        "channel": (5, "sfixed32"),
        "stokes": (6, "sfixed32"),
        "value": (7, "float"),
    },
    "ScriptingRequest": {
        "scriptingRequestId": (1, "sfixed32"),
        "target": (2, "string"),
        "action": (3, "string"),
        "parameters": (4, "string"),
        "async": (5, "bool"),
        "returnPath": (6, "string"),
    },
    "ScriptingResponse": {
        "scriptingRequestId": (1, "sfixed32"),
        "success": (2, "bool"),
        "message": (3, "string"),
        "response": (4, "string"),
    },
}
_FIXED = {
    "fixed32": (5, "<I"),
    "sfixed32": (5, "<i"),
    "float": (5, "<f"),
    "sfixed64": (1, "<q"),
    "double": (1, "<d"),
}
_SIZES = {1: 8, 5: 4}
_VARINT, _BYTES = 0, 2
_DEFAULTS: dict[str, Any] = {"string": "", "bytes": b"", "float": 0.0, "double": 0.0}


def wire_type(kind: str) -> int:
    """Give the number by which the bytes of a type are told apart."""
    if kind.lstrip("*") in _FIXED:
        return _BYTES if kind.startswith("*") else _FIXED[kind][0]
    return _VARINT if kind in ("bool", "enum") else _BYTES


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _value(kind: str, value: Any) -> bytes:
    if kind in _FIXED:
        return struct.pack(_FIXED[kind][1], value)
    if kind in ("bool", "enum"):
        return _varint(int(value))
    if kind.startswith("of "):
        value = encode(kind.removeprefix("of "), value)
    elif kind == "string":
        value = str(value).encode()
    return _varint(len(value)) + bytes(value)


def encode(message: str, content: Mapping[str, Any]) -> bytes:
    """Give the bytes of a message."""
    found = bytearray()
    for name, value in content.items():
        number, kind = MESSAGES[message][name]
        tag = _varint(number << 3 | wire_type(kind))
        base = kind.lstrip("*")
        if kind.startswith("*") and base in _FIXED:
            packed = struct.pack(f"<{len(value)}{_FIXED[base][1][1]}", *value)
            found += tag + _varint(len(packed)) + packed
        else:
            for each in value if kind.startswith("*") else [value]:
                found += tag + _value(base, each)
    return bytes(found)


def _default(kind: str) -> Any:
    if kind.startswith("*"):
        return []
    if kind.startswith("of "):
        return decode(kind.removeprefix("of "), b"")
    return _DEFAULTS.get(kind, 0)


def _read(kind: str, raw: bytes) -> Any:
    if kind in _FIXED:
        return struct.unpack(_FIXED[kind][1], raw)[0]
    if kind.startswith("of "):
        return decode(kind.removeprefix("of "), raw)
    return raw.decode() if kind == "string" else raw


def decode(message: str, raw: bytes) -> dict[str, Any]:
    """Read the bytes of a message; fields that are not in the table are passed over."""
    fields = {number: (name, kind) for name, (number, kind) in MESSAGES[message].items()}
    found = {name: _default(kind) for name, (_, kind) in MESSAGES[message].items()}
    place = 0

    def varint() -> int:
        nonlocal place
        number = shift = 0
        while True:
            byte = raw[place]
            place += 1
            number |= (byte & 0x7F) << shift
            if byte <= 0x7F:
                return number
            shift += 7

    while place < len(raw):
        tag = varint()
        wire = tag & 7
        value: Any
        if wire == _VARINT:
            value = varint()
        else:
            size = varint() if wire == _BYTES else _SIZES[wire]
            value = raw[place : place + size]
            place += size
        name, kind = fields.get(tag >> 3, ("", ""))
        base = kind.lstrip("*")
        if not name:
            continue
        if wire != _VARINT:
            if kind.startswith("*") and base in _FIXED and wire == _BYTES:
                found[name] += [each for (each,) in struct.iter_unpack(_FIXED[base][1], value)]
                continue
            value = _read(base, value)
        if kind.startswith("*"):
            found[name].append(value)
        else:
            found[name] = value
    return found


def event(name: str, request: int, content: Mapping[str, Any]) -> bytes:
    """Give the bytes of an event."""
    number, message = EVENTS[name]
    return struct.pack("<HHI", number, ICD_VERSION, request) + encode(message, content)


def read_event(raw: bytes) -> tuple[str, int, dict[str, Any]]:
    """Read an event: its name, empty where it is none of ours, its request and its message."""
    number, _, request = struct.unpack("<HHI", raw[:8])
    for name, (known, message) in EVENTS.items():
        if known == number:
            return name, request, decode(message, raw[8:])
    return "", request, {}
