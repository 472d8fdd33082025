"""Makes the files of the sample project: images, a cube, a catalogue and a notebook.

Run with the Python of the AstroML environment: ``python make_sample.py DIRECTORY``.
The sky in them is simulated, so that every measurement can be compared with the truth.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import cos, erf, radians, sin, sqrt
from pathlib import Path
from typing import Any

import numpy as np  # type: ignore[import-not-found,unused-ignore]
from astropy import units as u  # type: ignore[import-not-found,unused-ignore]
from astropy.io import fits  # type: ignore[import-not-found,unused-ignore]
from astropy.table import Table  # type: ignore[import-not-found,unused-ignore]
from astropy.wcs import WCS  # type: ignore[import-not-found,unused-ignore]

SEED = 20211
"""The seed of the files that a project gets."""
NOTEBOOK = "measure_sources.ipynb"
CATALOGUE = "sources.fits"
CUBE = "line_cube.fits"
README = "README.md"

_MODE = 0o660
"""For the members of the project."""
_HERE = Path(__file__).resolve().parent
_CENTRE = (150.10, 2.20)
_ROTATION = 12.0
_SIZE = 512
_PIXEL = 0.5
_ZERO_POINT = 25.0
_SOURCES = 60
_MARGIN = 24
_APART = 14.0
_MAGNITUDES = (15.5, 21.0)
_CHANNELS = 32
_CUBE_SIZE = 128
_CUBE_PIXEL = 2.0
_CO = 115.2712018e9
_SPEED_OF_LIGHT = 299792.458


@dataclass(frozen=True)
class Band:
    """One filter of the camera."""

    name: str
    fwhm: float
    """Of the stars, in arcsec."""
    sky: float
    """Level, in counts per pixel."""
    noise: float
    """Standard deviation, in counts per pixel."""


BANDS = (Band("g", 1.40, 12.0, 0.35), Band("r", 1.25, 20.0, 0.45), Band("i", 1.15, 32.0, 0.60))


def _image_header() -> Any:
    """Place the images on the sky: a tangential projection, turned a little."""
    scale, turn = _PIXEL / 3600, radians(_ROTATION)
    header = fits.Header()
    header["OBJECT"] = ("CANFAR sample field", "simulated, not an observation")
    for axis, (kind, value) in enumerate(zip(("RA---TAN", "DEC--TAN"), _CENTRE, strict=True), 1):
        header[f"CTYPE{axis}"] = kind
        header[f"CUNIT{axis}"] = "deg"
        header[f"CRVAL{axis}"] = value
        header[f"CRPIX{axis}"] = (_SIZE + 1) / 2
    header["CD1_1"] = -scale * cos(turn)
    header["CD1_2"] = scale * sin(turn)
    header["CD2_1"] = scale * sin(turn)
    header["CD2_2"] = scale * cos(turn)
    header["RADESYS"] = "ICRS"
    return header


def _positions(random: Any) -> Any:
    """Draw pixel positions that are far enough from the edges and from each other."""
    found: list[Any] = []
    while len(found) < _SOURCES:
        candidate = random.uniform(_MARGIN, _SIZE - 1 - _MARGIN, 2)
        if all(np.hypot(*(candidate - other)) > _APART for other in found):
            found.append(candidate)
    return np.array(found)


def make_catalogue(seed: int = SEED) -> Any:
    """Draw the sources that are in the images.

    Parameters
    ----------
    seed : int

    Returns
    -------
    astropy.table.Table
        Name, position and magnitude in each band; the brightest comes first.
    """
    random = np.random.default_rng([seed, 1])
    positions = _positions(random)
    bright, faint = _MAGNITUDES
    # Each magnitude fainter has twice the stars, as in a real field.
    red = np.sort(bright + np.log2(1 + random.random(_SOURCES) * (2 ** (faint - bright) - 1)))
    colour = random.normal(0.55, 0.25, _SOURCES).clip(-0.2, 1.4)
    sky = WCS(_image_header()).pixel_to_world(positions[:, 0], positions[:, 1])
    return Table(
        {
            "name": [f"S{number:02d}" for number in range(1, _SOURCES + 1)],
            "ra": np.round(sky.ra.deg, 7) * u.deg,
            "dec": np.round(sky.dec.deg, 7) * u.deg,
            "mag_g": np.round(red + colour, 3) * u.mag,
            "mag_r": np.round(red, 3) * u.mag,
            "mag_i": np.round(red - 0.4 * colour, 3) * u.mag,
        }
    )


def _profile(centre: float, sigma: float) -> Any:
    """Give the share of a Gaussian that falls into each pixel of a row."""
    edges = (np.arange(_SIZE + 1) - 0.5 - centre) / (sigma * sqrt(2))
    return np.diff([erf(edge) for edge in edges]) / 2


def make_image(band: Band, seed: int = SEED) -> Any:
    """Make the image of a band: sky, stars and noise.

    Parameters
    ----------
    band : Band
    seed : int

    Returns
    -------
    astropy.io.fits.PrimaryHDU
    """
    header = _image_header()
    catalogue = make_catalogue(seed)
    xs, ys = WCS(header).wcs_world2pix(catalogue["ra"], catalogue["dec"], 0)
    sigma = band.fwhm / _PIXEL / 2.3548
    image = np.full((_SIZE, _SIZE), band.sky)
    fluxes = 10 ** (0.4 * (_ZERO_POINT - np.asarray(catalogue[f"mag_{band.name}"])))
    for x, y, flux in zip(xs, ys, fluxes, strict=True):
        image += flux * np.outer(_profile(y, sigma), _profile(x, sigma))
    random = np.random.default_rng([seed, 2, BANDS.index(band)])
    image += random.normal(0, band.noise, image.shape)
    header["FILTER"] = band.name
    header["BUNIT"] = "ct"
    header["MAGZERO"] = (_ZERO_POINT, "magnitude of one count")
    header["SEEING"] = (band.fwhm, "[arcsec] FWHM of the stars")
    return fits.PrimaryHDU(image.astype(np.float32), header)


def make_cube(seed: int = SEED) -> Any:
    """Make a cube of a turning disc, seen in a line of carbon monoxide.

    Parameters
    ----------
    seed : int

    Returns
    -------
    astropy.io.fits.PrimaryHDU
    """
    systemic, rotation, dispersion, width = 1200.0, 45.0, 9.0, 5.0
    velocities = systemic + (np.arange(_CHANNELS) - (_CHANNELS - 1) / 2) * width
    y, x = np.mgrid[:_CUBE_SIZE, :_CUBE_SIZE] - (_CUBE_SIZE - 1) / 2
    turn = radians(30)
    along, across = x * cos(turn) + y * sin(turn), (y * cos(turn) - x * sin(turn)) / 0.5
    brightness = 0.08 * np.exp(-(along**2 + across**2) / (2 * 16.0**2))
    speed = systemic + rotation * np.tanh(along / 10.0)
    line = np.exp(-((velocities[:, None, None] - speed) ** 2) / (2 * dispersion**2))
    cube = brightness * line + np.random.default_rng([seed, 3]).normal(0, 0.004, line.shape)

    header = fits.Header()
    header["OBJECT"] = ("CANFAR sample disc", "simulated, not an observation")
    step = -_CO * width / _SPEED_OF_LIGHT
    axes = (
        ("RA---TAN", "deg", _CENTRE[0], (_CUBE_SIZE + 1) / 2, -_CUBE_PIXEL / 3600),
        ("DEC--TAN", "deg", _CENTRE[1], (_CUBE_SIZE + 1) / 2, _CUBE_PIXEL / 3600),
        ("FREQ", "Hz", _CO * (1 - systemic / _SPEED_OF_LIGHT), (_CHANNELS + 1) / 2, step),
    )
    for axis, (kind, unit, value, pixel, delta) in enumerate(axes, 1):
        header[f"CTYPE{axis}"] = kind
        header[f"CUNIT{axis}"] = unit
        header[f"CRVAL{axis}"] = value
        header[f"CRPIX{axis}"] = pixel
        header[f"CDELT{axis}"] = delta
    header["RADESYS"] = "ICRS"
    header["SPECSYS"] = "LSRK"
    header["RESTFRQ"] = (_CO, "[Hz] CO(1-0)")
    header["BUNIT"] = "Jy/beam"
    header["BMAJ"] = header["BMIN"] = 2 * _CUBE_PIXEL / 3600
    header["BPA"] = 0.0
    return fits.PrimaryHDU(cube.astype(np.float32), header)


def _fits_bytes(hdu: Any) -> bytes:
    buffer = io.BytesIO()
    hdu.writeto(buffer)
    return buffer.getvalue()


def _table_bytes(seed: int) -> bytes:
    table = fits.BinTableHDU(make_catalogue(seed), name="SOURCES")
    return _fits_bytes(fits.HDUList([fits.PrimaryHDU(), table]))


def _csv_bytes(seed: int) -> bytes:
    text = io.StringIO()
    make_catalogue(seed).write(text, format="ascii.csv")
    return text.getvalue().encode()


def image_name(band: Band) -> str:
    """Give the file name of a band's image."""
    return f"field_{band.name}.fits"


def contents(seed: int = SEED) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Give the name of each file and the function that makes its bytes; the README is the last.

    The same seed gives the same bytes.
    """
    for band in BANDS:
        yield image_name(band), lambda band=band: _fits_bytes(make_image(band, seed))  # type: ignore[misc]
    yield CUBE, lambda: _fits_bytes(make_cube(seed))
    yield CATALOGUE, lambda: _table_bytes(seed)
    yield "sources.csv", lambda: _csv_bytes(seed)
    for name in (NOTEBOOK, README):
        yield name, (_HERE / "files" / name).read_bytes


def _put(directory: int, name: str, content: bytes, gid: int | None) -> bool:
    """Write a file unless something has its name; it is there whole or not at all."""
    partial = f".{name}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(partial, flags, _MODE, dir_fd=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            # Of this very file, before it has its name: nothing of a user's is ever touched.
            if gid is not None:
                os.fchown(file.fileno(), -1, gid)
            os.fchmod(file.fileno(), _MODE)
        # A link, unlike a renaming, fails where the name is taken.
        os.link(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
    except FileExistsError:
        return False
    finally:
        os.unlink(partial, dir_fd=directory)
    return True


def make_sample(directory: Path, seed: int = SEED, gid: int | None = None) -> list[str]:
    """Make the files that are missing in a directory; what is there stays as it is.

    Parameters
    ----------
    directory : Path
        Exists already.
    seed : int
    gid : int, optional
        The group that the files are given to.

    Returns
    -------
    list of str
        The files that were made.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with os.scandir(descriptor) as entries:
            there = {entry.name for entry in entries}
        return [
            name
            for name, make in contents(seed)
            if name not in there and _put(descriptor, name, make(), gid)
        ]
    finally:
        os.close(descriptor)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--gid", type=int, help="the group that the files are given to")
    arguments = parser.parse_args(argv)
    try:
        made = make_sample(arguments.directory, arguments.seed, arguments.gid)
    except OSError as error:
        sys.stderr.write(f"{arguments.directory}: {error.strerror}\n")
        return 1
    sys.stdout.write("".join(f"{name}\n" for name in made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
