"""Headers of FITS files: as astropy reads them, or a sentence that says what is wrong."""

from __future__ import annotations

import gzip
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from canfar_lab.fits.cards import Card, cards, parse
from canfar_lab.fits.sources import FitsError, source
from canfar_lab.fits.units import Units, header_at

from canfar_spawner.local import environments
from tests.support import fits as make

FILES = 200
_LONGEST = 0.005
"""Seconds, a fivefold of what reading three headers takes."""

ASTROPY = """
import json, sys, warnings
from astropy.io import fits

warnings.simplefilter("ignore")

def plain(value):
    if isinstance(value, fits.card.Undefined):
        return None
    return ["complex", value.real, value.imag] if isinstance(value, complex) else value

for path in sys.argv[1:]:
    with fits.open(path, disable_image_compression=True) as units:
        print(json.dumps([[[c.keyword, plain(c.value), c.comment] for c in u.header.cards] for u in units]))
"""
COMPRESS = """
import sys
import numpy
from astropy.io import fits

image = fits.CompImageHDU(numpy.arange(12_000.0).reshape(100, 120), name="SKY")
fits.HDUList([fits.PrimaryHDU(), image]).writeto(sys.argv[1])
"""


def astropy(program: str, *arguments: Path) -> list[str]:
    python = environments.location("notebook") / "bin" / "python"
    return subprocess.run(
        [python, "-c", program, *arguments], check=True, capture_output=True, text=True, timeout=120
    ).stdout.splitlines()


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read(path: Path) -> tuple[Units, list[list[Card]]]:
    with opened(path) as descriptor:
        found, at = Units(), source(descriptor)
        found.find(at, 1_000_000)
        headers = [header_at(at, unit.at, unit.index) for unit in found.found]
    return found, [list(cards(header.decode("latin-1"))) for header in headers]


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def plain(value: Any) -> Any:
    return ["complex", value.real, value.imag] if isinstance(value, complex) else value


@pytest.mark.environment("notebook")
def test_two_hundred_odd_files_are_read_as_astropy_reads_them(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{n}.fits", make.odd_file(n)) for n in range(FILES)]
    theirs = [json.loads(line) for line in astropy(ASTROPY, *paths)]

    counted = 0
    for path, expected in zip(paths, theirs, strict=True):
        units, mine = read(path)
        assert not units.problem
        assert json.loads(
            json.dumps([[[c.keyword, plain(c.value), c.comment] for c in each] for each in mine])
        ) == (expected), path
        counted += sum(map(len, mine))
    assert counted > FILES * 40


@pytest.mark.environment("notebook")
def test_a_compressed_image_is_seen_as_the_image_that_it_is(tmp_path: Path) -> None:
    path = tmp_path / "sky.fits.fz"
    astropy(COMPRESS, path)

    units, _ = read(path)

    assert [(unit.type, unit.name, unit.shape) for unit in units.found] == [
        ("image", "", ()),
        ("compressed image", "SKY", (120, 100)),
    ]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("EXPTIME =                 30.0 / [s] how long", ("EXPTIME", 30.0, "[s] how long")),
        ("OBJECT  = 'M31''s core' / it''s there", ("OBJECT", "M31's core", "it''s there")),
        ("OBJECT  = 'a / b'", ("OBJECT", "a / b", "")),
        ("GAIN    = 1.5D-3", ("GAIN", 0.0015, "")),
        ("BIG     = 123456789012345678901", ("BIG", 123456789012345678901, "")),
        ("VELOCITY= (1.0, -2.5)", ("VELOCITY", 1 - 2.5j, "")),
        ("NOTHING =                      / not known", ("NOTHING", None, "not known")),
        ("HIERARCH ESO DET CHIP1 NAME = 'CCD' / x", ("ESO DET CHIP1 NAME", "CCD", "x")),
        ("COMMENT = this is no value", ("COMMENT", "= this is no value", "")),
        ("BROKEN  = 'no end", ("BROKEN", "'no end", "")),
        ("DATE    = 2026-11-30 / without quotes", ("DATE", "2026-11-30", "without quotes")),
        ("\xe9t\xe9     = 1", ("\xc9T\xc9", 1, "")),
    ],
)
def test_cards(image: str, expected: tuple[str, Any, str]) -> None:
    card = parse(image.ljust(80))
    assert (card.keyword, card.value, card.comment) == expected


def test_a_string_that_goes_on_is_one_card_and_what_only_looks_so_is_not() -> None:
    images = [
        "LONG    = 'one &' / first",
        "CONTINUE  'two''s &'",
        "CONTINUE  'three' / last",
        "ALONE   = 'ends with &'",
        "OTHER   = 1",
        "CONTINUE  'of nothing'",
    ]
    found = list(cards("".join(image.ljust(80) for image in images)))
    assert [(card.keyword, card.text, card.comment) for card in found] == [
        ("LONG", "one two's three", "first last"),
        ("ALONE", "ends with &", ""),
        ("OTHER", "1", ""),
        ("CONTINUE", "  'of nothing'", ""),
    ]


BASE = make.image(16, (10, 10))
AXES = "".join(make.structure(16, (10, 10)))


def changed(old: str, new: str) -> bytes:
    return BASE.replace(old.ljust(80).encode(), new.ljust(80).encode())


@pytest.mark.parametrize(
    ("data", "units", "said"),
    [
        (b"", 0, "This is no FITS file: it is empty."),
        (b"\x89PNG\r\n" + bytes(5000), 0, "This is no FITS file: it does not begin with SIMPLE."),
        (b"SIMPLE", 0, "This is no FITS file: it does not begin with SIMPLE."),
        (BASE[:400], 0, "The header of HDU 0 has no END: the file is cut off or damaged."),
        (make.header([AXES], end=False), 0, "The header of HDU 0 has no END: the file is cut off or damaged."),
        (changed(make.card("BITPIX", "16"), make.card("BITPIX", "17")), 0, "HDU 0: BITPIX is 17, which FITS does not know."),
        (changed(make.card("NAXIS", "2"), make.card("NAXIS", "3")), 0, "HDU 0: NAXIS3 is missing."),
        (changed(make.card("NAXIS", "2"), make.card("NAXIS", "-2")), 0, "HDU 0: NAXIS is -2, and must be from 0 to 999."),
        (changed(make.card("NAXIS", "2"), make.card("NAXIS", "'2'")), 0, "HDU 0: NAXIS is 2, and no whole number."),
        (changed(make.card("NAXIS1", "10"), make.card("NAXIS1", "-10")), 0, "HDU 0: NAXIS1 is -10, and must not be negative."),
        (BASE[:3000], 1, "The file is cut off: HDU 0 lacks 80 bytes of its data."),
        (BASE + b"something else", 1, "What follows HDU 0 is no HDU."),
        (BASE + make.image(8, (4,), extension=True)[:400], 1, "The header of HDU 1 has no END: the file is cut off or damaged."),
        (BASE + bytes(2880 * 3), 1, ""),
        (gzip.compress(BASE)[:-60], 0, "The compressed file is damaged or cut off."),
        (gzip.compress(BASE + make.table(7)), 2, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_what_is_before_it_is_shown(
    tmp_path: Path, data: bytes, units: int, said: str
) -> None:
    path = written(tmp_path / "some.fits", data)
    if units == 0:
        with pytest.raises(FitsError) as refused:
            read(path)
        assert str(refused.value) == said
        return
    found, headers = read(path)
    assert (len(headers), found.problem, found.complete) == (units, said, True)


def test_five_thousand_units_are_found_bit_by_bit(tmp_path: Path) -> None:
    one = make.image(8, (10,), [make.card("EXTNAME", "'SPEC'")], extension=True)
    path = written(tmp_path / "many.fits", make.image(8, ()) + one * 5000)
    with opened(path) as descriptor:
        at, units = source(descriptor), Units()
        units.find(at, 200, seconds=0)
        assert (len(units.found), units.complete) == (200, False)
        units.find(at, 10_000, seconds=0)
    assert (len(units.found), units.complete, units.problem) == (5001, True, "")
    assert units.found[5000].at == len(make.image(8, ())) + len(one) * 4999


def test_a_cube_of_two_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "cube.fits"
    head = make.header(make.structure(-32, (1024, 1024, 512)))
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + -(-(2 << 30) // make.BLOCK) * make.BLOCK)
        file.seek(0, os.SEEK_END)
        file.write(make.table(3))
    units, _ = read(path)
    assert [(unit.type, unit.shape, unit.rows) for unit in units.found] == [
        ("image", (1024, 1024, 512), None),
        ("table", (), 3),
    ]


@pytest.mark.long
def test_three_headers_are_read_in_a_millisecond(tmp_path: Path) -> None:
    extra = [make.card(f"KEY{n:04d}", f"{n * 1.5}", "measured") for n in range(30)]
    extra += [make.card(f"TXT{n:04d}", make.quoted("abc def"), "said") for n in range(30)]
    data = make.image(-32, (4096, 64), extra) + make.image(16, (9, 9), extra, extension=True)
    path = written(tmp_path / "three.fits", data + make.table(100, extra))
    times = []
    for _ in range(30):
        begun = time.perf_counter()
        _, headers = read(path)
        times.append(time.perf_counter() - begun)
    assert sum(map(len, headers)) > 200
    assert statistics.median(times) < _LONGEST


def test_whatever_is_damaged_in_what_is_compressed_is_read_or_refused(tmp_path: Path) -> None:
    whole = gzip.compress(make.odd_file(7) + make.table(50), mtime=0)
    said = []
    for at in range(2, len(whole)):
        data = bytearray(whole)
        data[at] ^= 0xA5
        try:
            read(written(tmp_path / "damaged.fits.gz", bytes(data)))
        except FitsError as error:
            said.append(str(error))
    assert "The compressed file is damaged or cut off." in said
    assert all(each.endswith(".") for each in said)


def test_whatever_is_damaged_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.fits"
    said = []
    for seed in range(400):
        chance = make.Chance(seed)
        data = bytearray(make.odd_file(seed % 40))
        for _ in range(chance.choice([1, 3, 30])):
            at = chance.randrange(max(1, min(len(data) - 2880, 6000)))
            if chance.random() < 0.3:
                del data[at : at + chance.choice([1, 80])]
            else:
                data[at] = chance.choice(b"\0 '=/&0919-E.\xff")
        path.write_bytes(data)
        try:
            read(path)
        except FitsError as error:
            said.append(str(error))
    assert 0 < len(said) < 400
    assert all(each.endswith(".") for each in said)
