"""Looks into files: pictures, first rows, headers over HTTP; and what cannot be shown says why."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import statistics
import struct
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from canfar_lab.fits.sources import FitsError, source
from canfar_lab.preview import separated, tables
from canfar_lab.preview.helper import Helper
from PIL import Image

from tests.support import fits as make
from tests.support.lab_server import LabServer

_LONGEST = 0.5
"""Seconds, a fivefold of what a thumbnail of 4096² pixels may take."""


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.fixture
def folder(lab_server: LabServer) -> Path:
    path = lab_server.storage.home / uuid.uuid4().hex
    path.mkdir()
    return path


def put(folder: Path, name: str, data: bytes) -> dict[str, str]:
    """Write a file; gives the parameters that ask about it."""
    (folder / name).write_bytes(data)
    return {"area": "home", "path": f"{folder.name}/{name}"}


def picture(server: LabServer, asked: dict[str, str], **more: Any) -> Image.Image:
    answer = server.call("GET", "previews/thumbnail", params={**asked, **more})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "image/png"
    return Image.open(io.BytesIO(answer.content))


def refused(server: LabServer, route: str, asked: dict[str, str], **more: Any) -> str:
    answer = server.call("GET", f"previews/{route}", params={**asked, **more})
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "no-preview"
    return str(answer.json()["message"])


def floats(shape: tuple[int, int], values: list[float], extra: list[str] | None = None) -> bytes:
    data = struct.pack(f">{len(values)}f", *values)
    return make.header([*make.structure(-32, shape), *(extra or [])]) + make.padded(data)


def test_a_picture_has_what_is_high_up_bright_and_what_is_nothing_clear(
    lab_server: LabServer, folder: Path
) -> None:
    nan = float("nan")
    # Three rows of four, from the lowest.
    asked = put(folder, "a.fits", floats((4, 3), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, nan, 11]))
    found = picture(lab_server, asked)
    assert (found.size, found.mode) == ((4, 3), "LA")
    rows = [[found.getpixel((x, y)) for x in range(4)] for y in range(3)]
    assert rows[2][0] == (0, 255)
    assert rows[0][3] == (255, 255)
    assert rows[0][2] == (0, 0)
    assert rows[2][0] < rows[1][0] < rows[0][0]


def test_integers_know_what_is_blank_and_which_way_is_up(
    lab_server: LabServer, folder: Path
) -> None:
    extra = [make.card("BLANK", "-1"), make.card("BSCALE", "-1.0")]
    data = struct.pack(">4h", 5, -1, 7, 9)
    head = make.header([*make.structure(16, (2, 2)), *extra])
    found = picture(lab_server, put(folder, "b.fits", head + make.padded(data)))
    # Negative: what is high is dark.
    assert found.getpixel((0, 1)) == (255, 255)
    assert found.getpixel((1, 1)) == (0, 0)
    assert found.getpixel((1, 0)) == (0, 255)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_large_one_of_any_depth_is_sampled(
    lab_server: LabServer, folder: Path, *, zipped: bool
) -> None:
    # A cube: bright on its right half, in the plane in its middle only.
    row = bytes(300) + b"\xff" * 300
    cube = bytes(600 * 900) + row * 900 + bytes(600 * 900)
    data = (
        make.image(8, ())
        + make.header(make.structure(8, (600, 900, 3), extension="IMAGE"))
        + make.padded(cube)
    )
    asked = put(folder, "cube.fits", gzip.compress(data, 1) if zipped else data)
    found = picture(lab_server, asked, size=90)
    assert found.size == (60, 90)
    assert found.getpixel((10, 40)) == (0, 255)
    assert found.getpixel((50, 40)) == (255, 255)


def test_a_thumbnail_is_quick_and_not_drawn_again(lab_server: LabServer, folder: Path) -> None:
    row = struct.pack(">4096f", *(float(n % 251) for n in range(4096)))
    asked = put(
        folder, "big.fits", make.header(make.structure(-32, (4096, 4096))) + make.padded(row * 4096)
    )
    picture(lab_server, asked)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        answer = lab_server.call("GET", "previews/thumbnail", params=asked)
        times.append(time.perf_counter() - begun)
    assert statistics.median(times) < _LONGEST
    again = lab_server.call(
        "GET",
        "previews/thumbnail",
        params=asked,
        headers={"If-None-Match": answer.headers["ETag"]},
    )
    assert (again.status_code, again.content) == (304, b"")


def test_what_cannot_be_drawn_says_why(lab_server: LabServer, folder: Path) -> None:
    whole = floats((4, 3), [0.0] * 12)
    none = floats((2, 2), [float("nan")] * 4)
    for name, data, said in (
        ("text", b"hello", "does not begin with SIMPLE"),
        ("line.fits", make.image(8, (9,)), "There is no image with two axes in this file."),
        ("empty.fits", make.image(8, (9, 0)), "There is no image with two axes in this file."),
        ("table.fits", make.image(8, ()) + make.table(3), "There is no image with two axes"),
        ("nan.fits", none, "The image has no values that could be drawn."),
        ("cut.fits", whole[:2900], "The file is cut off: the image is not complete."),
        ("wide.fits", make.header(make.structure(8, (1 << 21, 1))), "2097152 pixels in a row"),
        ("zip.fits.gz", gzip.compress(whole)[:-40], "damaged or cut off"),
    ):
        assert said in refused(lab_server, "thumbnail", put(folder, name, data)), name
    # Its beginning is no longer what was compressed, which only zlib tells.
    zipped = bytearray(gzip.compress(whole, mtime=0))
    zipped[10] ^= 0xFF
    asked = put(folder, "bits.fits.gz", bytes(zipped))
    for route in ("thumbnail", "fits", "table"):
        assert "damaged or cut off" in refused(lab_server, route, asked), route
    asked = put(folder, "whole.fits", whole)
    assert "There is no HDU 7" in refused(lab_server, "thumbnail", asked, hdu=7)
    # A picture of one value, grey.
    assert picture(lab_server, asked).getpixel((0, 0)) == (127, 255)


def test_headers_are_told_with_the_units_around(lab_server: LabServer, folder: Path) -> None:
    extra = [make.card("OBJECT", "'M31'", "what it is")]
    data = make.image(-32, (30, 20), extra) + make.table(7, [make.card("EXTNAME", "'SOURCES'")])
    asked = put(folder, "a.fits", data)
    found = lab_server.ask("previews/fits", **asked)
    assert [(unit["type"], unit["shape"], unit["rows"]) for unit in found["hdus"]] == [
        ("image", [30, 20], None),
        ("table", [], 7),
    ]
    assert (found["total"], found["complete"], found["problem"]) == (2, True, None)
    assert ["OBJECT", "M31", "what it is", "s"] in found["cards"]
    found = lab_server.ask("previews/fits", **asked, hdu=1)
    assert ["EXTNAME", "SOURCES", "", "s"] in found["cards"]
    # The file is another one now; nothing of the old one is remembered.
    asked = put(folder, "a.fits", make.image(8, (1,)) + b"rubbish")
    found = lab_server.ask("previews/fits", **asked)
    assert (found["total"], found["problem"]) == (1, "What follows HDU 0 is no HDU.")
    assert "no FITS file" in refused(lab_server, "fits", put(folder, "x", b"text"))
    many = make.image(8, ()) + make.image(8, (1,), extension=True) * 450
    asked = put(folder, "many.fits", many)
    assert len(lab_server.ask("previews/fits", **asked, first=400)["hdus"]) == 51
    for odd in ({"hdu": "-1"}, {"hdu": "x"}, {"first": ""}, {"size": "1"}):
        answer = lab_server.call("GET", "previews/fits", params={**asked, **odd})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


@pytest.mark.parametrize("route", ["fits", "thumbnail", "table"])
def test_nothing_is_looked_into_that_is_no_file_of_hers(
    lab_server: LabServer, folder: Path, route: str
) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "out").symlink_to("/etc/passwd")
    for path, status in (("pipe", 409), ("out", 403), ("gone", 404), ("../x", 400)):
        answer = lab_server.call(
            "GET", f"previews/{route}", params={"area": "home", "path": f"{folder.name}/{path}"}
        )
        assert answer.status_code == status
    answer = lab_server.call(
        "GET", f"previews/{route}", params={}, headers={"Authorization": "token wrong"}
    )
    assert answer.status_code == 403


def test_first_rows_over_http(lab_server: LabServer, folder: Path) -> None:
    asked = put(folder, "t.fits", make.image(8, ()) + make.table(300))
    found = lab_server.ask("previews/table", **asked, rows=2)
    assert found["columns"] == [
        {"name": "ID", "type": "integer", "unit": ""},
        {"name": "FLUX", "type": "float", "unit": "Jy"},
        {"name": "NAME", "type": "text", "unit": ""},
        {"name": "GOOD", "type": "logical", "unit": ""},
    ]
    assert found["rows"] == [[0, 0.0, "M0", False], [1, 0.25, "M1", True]]
    assert (found["total"], found["more"]) == (300, True)
    found = lab_server.ask("previews/table", **put(folder, "t.csv", b"a,b\n1,2\n"))
    assert (found["rows"], found["total"], found["more"]) == ([["1", "2"]], 1, False)
    assert "no table" in refused(lab_server, "table", put(folder, "x", b"\0\1\2"))
    long = b"a,b\n1," + b"x" * 140_000 + b"\n"
    for text in (long, b"# a,b\n" + long.partition(b"\n")[2], b"1,2\n" * 30 + long):
        said = refused(lab_server, "table", put(folder, "long.csv", text))
        assert said == "The table cannot be read: a cell in it is too long."


COLUMNS = {
    "1B": (b"\x07", 7),
    "I": (b"\xff\xfe", -2),
    "J": (struct.pack(">i", 70_000), 70_000),
    "K": (struct.pack(">q", (1 << 60) + 1), str((1 << 60) + 1)),
    "E": (struct.pack(">f", 0.1), 0.1),
    "D": (struct.pack(">d", 0.1), 0.1),
    "3E": (struct.pack(">3f", 1, float("nan"), float("-inf")), [1.0, "NaN", "-Infinity"]),
    "C": (struct.pack(">2f", 1, -2), "(1, -2)"),
    "M": (struct.pack(">2d", 1, -2), "(1, -2)"),
    "L": (b"\0", None),
    "2L": (b"TF", [True, False]),
    "5A": (b"ab\0\xff ", "ab"),
    "11X": (b"\xa0\x40", "10100000010"),
    "0J": (b"", None),
    "10I": (struct.pack(">10h", *range(10)), [0, 1, 2, 3, 4, 5, 6, 7, "… 10 in all"]),
    "PJ(3)": (struct.pack(">2i", 2, 4), [5, 6]),
    "1QE(9)": (struct.pack(">2q", 0, 0), []),
    "PA(4)": (struct.pack(">2i", 3, 12), "xyz"),
}


@pytest.mark.parametrize("form", COLUMNS)
def test_every_form_of_a_column(tmp_path: Path, form: str) -> None:
    stored, expected = COLUMNS[form]
    heap = struct.pack(">3i", 4, 5, 6) + b"xyz"
    found = table_of(tmp_path, form, stored, heap)
    assert found["rows"] == ([[expected]] if stored else [])


def table_of(tmp_path: Path, form: str, stored: bytes, heap: bytes, *extra: str) -> dict[str, Any]:
    begin = make.structure(8, (len(stored), 1), extension="BINTABLE")
    size = make.card("PCOUNT", str(len(heap)))
    cards = [size if card.startswith("PCOUNT") else card for card in begin]
    more = [make.card("TFIELDS", "1"), make.card("TFORM1", make.quoted(form)), *extra]
    path = tmp_path / "t.fits"
    path.write_bytes(make.image(8, ()) + make.header([*cards, *more]) + make.padded(stored + heap))
    with opened(path) as descriptor:
        at = source(descriptor)
        return tables.first_rows(at, tables.find(at, None), 10)


@pytest.mark.parametrize(
    ("form", "stored", "extra", "expected"),
    [
        ("K", struct.pack(">q", -1), ["TZERO1  = 9223372036854775808"], str((1 << 63) - 1)),
        ("I", struct.pack(">h", 100), ["TSCAL1  = 0.5", "TZERO1  = 1.0"], 51.0),
        ("I", struct.pack(">h", -99), ["TNULL1  = -99"], None),
    ],
)
def test_what_is_stored_is_not_what_is_meant(
    tmp_path: Path, form: str, stored: bytes, extra: list[str], expected: Any
) -> None:
    cards = [text.ljust(80) for text in extra]
    assert table_of(tmp_path, form, stored, b"", *cards)["rows"] == [[expected]]


@pytest.mark.parametrize("form", ["Z", "", "9999J", "1.5E"])
def test_a_form_that_is_none_is_said(tmp_path: Path, form: str) -> None:
    with pytest.raises(FitsError, match="HDU 1: "):
        table_of(tmp_path, form, b"\0" * 4, b"")


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ("id,ra\n1,2.50\n", ["id", "ra"], [["1", "2.50"]]),
        ("id\tra\n1\t2\n", ["id", "ra"], [["1", "2"]]),
        ('id;ra\n1;"a;b"\n', ["id", "ra"], [["1", "a;b"]]),
        ("# x y\n1 2\n3 4\n", ["x", "y"], [["1", "2"], ["3", "4"]]),
        ("1,2\n3,4\n", ["column 1", "column 2"], [["1", "2"], ["3", "4"]]),
        ("a,b\n1\n1,2,3\n", ["a", "b", "column 3"], [["1", None, None], ["1", "2", "3"]]),
        ("\ufeffname\nM31\n", ["name"], [["M31"]]),
        ("a,b\n,\n", ["a", "b"], [["", ""]]),
    ],
)  # fmt: skip
def test_tables_of_text(text: str, names: list[str], rows: list[list[Any]]) -> None:
    found = separated.first_rows(text.encode(), 10, complete=True)
    assert [column["name"] for column in found["columns"]] == names
    assert found["rows"] == rows


def test_of_a_long_text_only_its_beginning_is_read() -> None:
    data = b"a,b\n" + b"1,2\n" * 1000
    found = separated.first_rows(data[:-3], 10, complete=False)
    assert (len(found["rows"]), found["total"], found["more"]) == (10, None, True)
    assert (
        separated.first_rows("caf\xe9,b\n1,2\n".encode("latin-1"), 5, complete=True)["columns"][0][
            "name"
        ]
        == "caf\xe9"
    )
    with pytest.raises(FitsError, match="neither FITS nor text"):
        separated.first_rows(b"\0\1", 5, complete=True)
    with pytest.raises(FitsError, match="no rows"):
        separated.first_rows(b"\n\n# only words\n", 5, complete=True)


@pytest.fixture
def helper() -> Iterator[Helper]:
    helper = Helper(patience=1.0)
    yield helper
    helper.end()


def test_the_helper_outlives_whatever_it_reads(helper: Helper, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    question = {"do": "table", "hdu": None, "rows": 5}
    with opened(path) as descriptor:
        assert json.loads(helper.ask(question, descriptor))["total"] == 1
        process = helper._process
        assert process is not None
        process.kill()
        process.wait()
        # A new one answers.
        assert json.loads(helper.ask(question, descriptor))["total"] == 1
        with pytest.raises(FitsError, match="made in a way that is not known here"):
            helper.ask({"do": "table", "hdu": None, "rows": "many"}, descriptor)
        stopped = helper._process
        assert stopped is not None
        # Whatever takes for ever is given up.
        stopped.send_signal(signal.SIGSTOP)
        with pytest.raises(FitsError, match="longer than 1 seconds"):
            helper.ask(question, descriptor)
        assert json.loads(helper.ask(question, descriptor))["total"] == 1
