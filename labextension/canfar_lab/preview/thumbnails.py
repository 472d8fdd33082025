"""Thumbnails of FITS images: what is bright and dark in them, at a glance.

Of a large image some rows are read, not all; of a cube, the plane in its middle.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

from canfar_lab.fits.cards import cards
from canfar_lab.fits.sources import FitsError, Source, source
from canfar_lab.fits.units import Unit, Units, header_at
from canfar_lab.preview import png

if TYPE_CHECKING:
    import numpy as np

_TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_ROWS = 4
"""How many of the rows that become one are read."""
_WIDEST = 1 << 20
_MOST_COMPRESSED = 1 << 27
"""Pixels of a plane that is decompressed as a whole."""
_DARK, _BRIGHT = 0.5, 99.5
"""Percentiles that become black and white."""
_LOOKED_AT = 200


def thumbnail(descriptor: int, hdu: int | None, size: int) -> bytes:
    """Draw a thumbnail of an image.

    Parameters
    ----------
    descriptor : int
        Of the open file.
    hdu : int or None
        Which; None takes the first image that there is.
    size : int
        Pixels of the longer side, at most.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    FitsError
        It cannot be drawn; says why.
    """
    try:
        import numpy  # noqa: F401, ICN001 - whether it is there
    except ImportError:
        raise FitsError(
            "Thumbnails need the package numpy, which this image does not have."
        ) from None
    at = source(descriptor)
    unit = _image(at, hdu)
    if unit.type == "compressed image":
        return _drawn(*_decompressed(descriptor, unit, size), flipped=False)
    values, blank, negative = _sampled(at, unit, size)
    return _drawn(values, blank, flipped=negative)


def _image(at: Source, hdu: int | None) -> Unit:
    units = Units()
    units.find(at, _LOOKED_AT if hdu is None else hdu + 1, seconds=0)
    if hdu is None:
        for unit in units.found:
            if _is_drawable(unit):
                return unit
        raise FitsError("There is no image with two axes in this file.")
    if hdu >= len(units.found):
        raise FitsError(f"There is no HDU {hdu} in this file. {units.problem}".strip())
    unit = units.found[hdu]
    if not _is_drawable(unit):
        raise FitsError(f"HDU {hdu} is no image with two axes, and cannot be drawn.")
    return unit


def _is_drawable(unit: Unit) -> bool:
    return unit.type in {"image", "compressed image"} and len(unit.shape) > 1 and all(unit.shape)


def _sampled(at: Source, unit: Unit, size: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Read some rows; gives means of blocks, where they mean nothing, and if black is bright."""
    import numpy as np

    width, height = unit.shape[:2]
    if width > _WIDEST:
        raise FitsError(
            f"The image has {width} pixels in a row; thumbnails are made up to {_WIDEST}."
        )
    said = {
        card.keyword: card for card in cards(header_at(at, unit.at, unit.index).decode("latin-1"))
    }
    kind = np.dtype(_TYPES[int(said["BITPIX"].text)])
    empty = said["BLANK"].value if "BLANK" in said and kind.kind != "f" else None
    scale = said["BSCALE"].value if "BSCALE" in said else 1
    planes = 1
    for length in unit.shape[2:]:
        planes *= length
    row = width * kind.itemsize
    begin = unit.data_at + planes // 2 * row * height
    step = max(1, -(-max(width, height) // size))
    columns = np.arange(0, width, step)
    means, blank = [], []
    for top in range(0, height, step):
        read = range(top, min(top + step, height), max(1, step // _ROWS))
        data = b"".join(at.read(begin + each * row, row) for each in read)
        if len(data) < row * len(read):
            raise FitsError("The file is cut off: the image is not complete.")
        mean, nothing = _means(np.frombuffer(data, kind).reshape(len(read), width), columns, empty)
        means.append(mean)
        blank.append(nothing)
    return np.array(means), np.array(blank), isinstance(scale, (int, float)) and scale < 0


def _means(values: np.ndarray, columns: np.ndarray, empty: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give the mean of each block of columns, without what means nothing."""
    import numpy as np

    pixels = values.astype(np.float32 if values.dtype.itemsize <= 4 else np.float64)
    totals = pixels.sum(axis=0)
    good = None if empty is None else values != empty
    # One value that means nothing makes nothing of the sum: most blocks have none.
    if good is None and np.isfinite(totals).all():
        counts = np.diff(np.append(columns, values.shape[1])) * values.shape[0]
        return np.add.reduceat(totals, columns) / counts, counts == 0
    good = np.isfinite(pixels) if good is None else good
    sums = np.add.reduceat(np.where(good, pixels, 0).sum(axis=0), columns)
    counts = np.add.reduceat(good.sum(axis=0), columns)
    return sums / np.maximum(counts, 1), counts == 0


def _decompressed(descriptor: int, unit: Unit, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Have astropy read a plane of a compressed image, where it is there."""
    import numpy as np

    if unit.shape[0] * unit.shape[1] > _MOST_COMPRESSED:
        raise FitsError("The compressed image is too large for a thumbnail.")
    try:
        from astropy.io import fits
    except ImportError:
        raise FitsError(
            "Thumbnails of compressed images need the package astropy, which this image does not have."
        ) from None
    with io.FileIO(os.dup(descriptor)) as file:
        file.seek(0)
        with fits.open(file, memmap=False, lazy_load_hdus=True) as units:
            section = units[unit.index].section
            middle = tuple(length // 2 for length in reversed(unit.shape[2:]))
            plane = np.asarray(section[(*middle, slice(None), slice(None))])
    step = max(1, -(-max(plane.shape) // size))
    columns = np.arange(0, plane.shape[1], step)
    blocks = [_means(plane[top : top + step], columns, None) for top in range(0, len(plane), step)]
    return np.array([mean for mean, _ in blocks]), np.array([blank for _, blank in blocks])


def _drawn(values: np.ndarray, blank: np.ndarray, *, flipped: bool) -> bytes:
    """Stretch from the darkest to the brightest of what is not exceptional."""
    import numpy as np

    good = values[~blank]
    if not good.size:
        raise FitsError("The image has no values that could be drawn.")
    low, high = np.percentile(good, [_DARK, _BRIGHT])
    grey = (
        np.clip((values - low) / (high - low), 0, 1) if high > low else np.full(values.shape, 0.5)
    )
    if flipped:
        grey = 1 - grey
    pixels = np.empty((*values.shape, 2), np.uint8)
    pixels[..., 0] = np.where(blank, 0, grey * 255)
    pixels[..., 1] = np.where(blank, 0, 255)
    # The first row of a FITS image is its lowest.
    return png.write([row.tobytes() for row in pixels[::-1]], values.shape[1])
