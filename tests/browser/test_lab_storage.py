"""The storage section of JupyterLab's panel, in a session launched from the hub."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Need, open_context, sign_in
from tests.support import axe, fits
from tests.support.hub import Hub, wait_for
from tests.support.lab import Lab, launch_lab
from tests.support.labpanel import Area, Panel

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.environment("notebook")]

SESSION = "storage1"
MANY = 100_000
LONG = "a name of eighty characters that says what is in the file, of which there are more.fits"


@pytest.fixture(scope="module")
def lab(one_origin_hub: Hub) -> Lab:
    """A session of ada's."""
    return launch_lab(
        one_origin_hub.sign_in("ada"), SESSION, container="notebook", projects=["demo"]
    )


@pytest.fixture(scope="module")
def areas(lab: Lab) -> dict[str, Area]:
    """Ada's home and the session's scratch as this machine has them."""
    data = lab.visitor.hub.data
    return {
        "home": Area(data / "arc" / "home" / "ada"),
        "scratch": Area(data / "scratch" / lab.launch.name),
    }


@pytest.fixture(scope="module")
def home(areas: dict[str, Area]) -> Area:
    """Ada's home, with things in it."""
    area = areas["home"]
    area.write(
        "m31/m31.fits",
        fits.image(-32, (64, 48), [fits.card("OBJECT", "'M31     '", "what was looked at")])
        + fits.table(120),
    )
    area.write("m31/stars.csv", b"name,flux\n" + b"".join(b"s%d,%d\n" % (n, n) for n in range(300)))
    area.write("m31/notes.txt", b"seeing was fair\n")
    area.write(f"m31/{LONG}", b"x" * 4_404_019)
    for number in (1, 2, 9, 10, 11):
        area.write(f"m31/cal/cal_{number}.fits", bytes(number))
    return area


@pytest.fixture(scope="module")
def tab(chromium: Browser, lab: Lab) -> Iterator[Page]:
    """A tab in which ada is signed in."""
    context = open_context(chromium, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    sign_in(page, lab.visitor.hub, "ada")
    yield page
    context.close()


@pytest.fixture
def panel(tab: Page, lab: Lab, home: Area) -> Panel:
    """The panel, at the home's folder m31."""
    panel = Panel(tab, lab)
    panel.open()
    panel.go(_seen(lab, home.folder("m31").name))
    expect(panel.row("cal")).to_be_visible()
    return panel


def _seen(lab: Lab, path: str) -> str:
    """Give a path of the home as the session sees it."""
    told = lab.call("GET", "canfar/storage/areas").json()["areas"]
    root = next(area["path"] for area in told if area["id"] == "home")
    return f"{root}/{path}".rstrip("/")


def _copied(panel: Panel) -> str:
    return str(panel.page.evaluate("navigator.clipboard.readText()"))


def test_folders_show_what_is_in_them_and_what_is_kept(panel: Panel) -> None:
    storage = panel.storage
    names = storage.locator(".canfar-storage-row .canfar-storage-text")
    expect(names).to_have_text(["cal", LONG, "m31.fits", "notes.txt", "stars.csv"])
    expect(panel.row(LONG).locator(".canfar-storage-size")).to_have_text("4.2 MB")
    expect(storage.get_by_role("status").filter(has_text="5 items")).to_be_visible()
    expect(storage.locator(".canfar-storage-badge")).to_have_text("kept, no backup")
    panel.row("cal").dblclick()
    expect(names).to_have_text([f"cal_{number}.fits" for number in (1, 2, 9, 10, 11)])
    storage.get_by_role("button", name="Size", exact=True).click()
    expect(names.first).to_have_text("cal_11.fits")
    storage.get_by_role("button", name="Name", exact=True).click()
    storage.get_by_role("navigation").get_by_role("button", name="m31").click()
    expect(panel.row("cal")).to_have_attribute("aria-selected", "true")
    storage.get_by_label("Area", exact=True).select_option("scratch")
    expect(storage.locator(".canfar-storage-badge")).to_have_text("wiped when the session ends")
    storage.get_by_label("Area", exact=True).select_option("projects")
    expect(panel.row("demo")).to_be_visible()
    panel.kept("projects", "")
    panel.page.reload()
    panel.show()
    expect(storage.get_by_label("Area", exact=True)).to_have_value("projects")


def test_a_hundred_thousand_files_are_looked_at_as_easily_as_ten(
    panel: Panel, home: Area, lab: Lab
) -> None:
    home.many("many", MANY, lambda number: f"cal_{number}_raw.fits")
    panel.go(_seen(lab, "many"))
    storage = panel.storage
    expect(storage.get_by_text("100,000 items")).to_be_visible()
    expect(panel.row("cal_0_raw.fits")).to_be_visible()
    assert panel.rows_drawn() <= 100
    panel.grid.evaluate("grid => { grid.scrollTop = 60000 * 28; }")
    expect(panel.row("cal_60000_raw.fits")).to_be_visible()
    assert panel.rows_drawn() <= 100
    panel.grid.press("End")
    expect(panel.row("cal_99999_raw.fits")).to_be_visible()
    field = storage.get_by_role("searchbox")
    field.fill("4321_")
    expect(storage.get_by_text(re.compile(r"^10 items"))).to_be_visible()
    field.press("Escape")
    expect(storage.get_by_text("100,000 items")).to_be_visible()
    # A file that comes while somebody looks is there without being asked for.
    home.write("many/aaa.txt")
    expect(storage.get_by_text("100,001 items")).to_be_visible()


def test_what_is_below_a_folder_is_searched(panel: Panel) -> None:
    field = panel.storage.get_by_role("searchbox")
    field.fill("cal_1")
    field.press("Enter")
    found = panel.storage.get_by_role("listbox")
    expect(found.get_by_role("option")).to_have_count(3)
    found.press("End")
    found.press("Enter")
    expect(panel.row("cal_11.fits")).to_have_attribute("aria-selected", "true")


def test_the_keyboard_alone_does_it_all(panel: Panel, home: Area) -> None:
    home.write("keys/before.txt", b"1")
    page, grid = panel.page, panel.grid
    panel.storage.get_by_role("navigation").get_by_role("button", name="Home").focus()
    page.keyboard.press("Enter")
    expect(panel.row("keys")).to_be_visible()
    # From the path by the tabulator alone: the pencil, the field, its button, four tools.
    for _ in range(20):
        page.keyboard.press("Tab")
        if grid.evaluate("grid => grid === document.activeElement"):
            break
    expect(grid).to_be_focused()
    for _ in range(20):
        if panel.row("keys").get_attribute("aria-selected") == "true":
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(panel.row("before.txt")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("F2")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("after.txt")
    page.keyboard.press("Enter")
    expect(panel.row("after.txt")).to_be_visible()
    assert (home.root / "keys" / "after.txt").read_bytes() == b"1"
    expect(grid).to_be_focused()
    page.keyboard.press("Shift+F10")
    menu = page.get_by_role("menu").filter(has_text="Copy path")
    expect(menu).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(grid).to_be_focused()
    page.keyboard.press("Delete")
    expect(dialog).to_contain_text("1 file, 1 B")
    # Whoever presses Enter at once deletes nothing.
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(panel.row("after.txt")).to_have_count(0)
    assert not (home.root / "keys" / "after.txt").exists()


def test_names_are_refused_with_a_sentence(panel: Panel, home: Area) -> None:
    panel.storage.get_by_role("button", name="New folder").click()
    dialog = panel.page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("cal")
    panel.page.keyboard.press("Enter")
    expect(dialog.filter(has_text="cal")).to_be_visible()
    expect(dialog).to_contain_text("already")
    panel.page.keyboard.press("Enter")
    dialog.get_by_role("textbox").fill("flats")
    panel.page.keyboard.press("Enter")
    expect(panel.row("flats")).to_have_attribute("aria-selected", "true")
    assert stat.S_ISDIR((home.root / "m31" / "flats").stat().st_mode)
    (home.root / "m31" / "flats").rmdir()


def test_a_file_is_opened_and_its_path_copied(panel: Panel, lab: Lab, home: Area) -> None:
    page = panel.page
    panel.act("m31.fits", "Copy path")
    wait_for(lambda: _copied(panel).endswith("/m31/m31.fits"), "the path to be copied")
    panel.act("m31.fits", "Copy Python snippet")
    wait_for(lambda: "fits.open(" in _copied(panel), "the snippet to be copied")
    code = _copied(panel) + "\nprint(header['OBJECT'])"
    with ThreadPoolExecutor(1) as pool:
        # A kernel is spoken with by a loop of its own, which this thread has already.
        printed = pool.submit(lab.run, code).result()
    assert printed.rstrip().endswith("M31")
    panel.row("notes.txt").dblclick()
    expect(page.get_by_role("tab", name="notes.txt")).to_be_visible()
    assert home.root.is_dir()


def test_what_is_in_fits_files_and_tables_is_shown(panel: Panel, screenshots: Path) -> None:
    page = panel.page
    panel.row("m31.fits").dblclick()
    preview = page.locator(".canfar-preview")
    expect(preview.get_by_role("row").filter(has_text="OBJECT")).to_contain_text("M31")
    preview.get_by_role("searchbox").fill("looked at")
    expect(preview.locator("tbody tr")).to_have_count(1)
    preview.get_by_role("tab", name="Thumbnail").click()
    picture = preview.get_by_role("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 0
    preview.get_by_role("tab", name="First rows").click()
    expect(preview.locator("tbody tr")).to_have_count(100)
    expect(preview.get_by_role("columnheader").nth(1)).to_contain_text("FLUX")
    page.screenshot(path=screenshots / "storage-preview.png")
    panel.act("stars.csv", "First rows")
    expect(page.locator(".canfar-preview:visible").locator("tbody tr")).to_have_count(100)


def test_files_are_uploaded_and_downloaded_whole(panel: Panel, home: Area, tmp_path: Path) -> None:
    page = panel.page
    content = os.urandom(20 << 20)
    mine = tmp_path / "cube.bin"
    mine.write_bytes(content)
    panel.upload(mine)
    expect(panel.row("cube.bin")).to_be_visible()
    arrived = home.root / "m31" / "cube.bin"
    assert hashlib.sha256(arrived.read_bytes()).digest() == hashlib.sha256(content).digest()
    with page.expect_download() as download:
        panel.act("cube.bin", "Download")
    assert Path(download.value.path()).read_bytes() == content
    # The same name again is asked about, and what is there stays until it is answered.
    mine.write_bytes(b"other")
    panel.upload(mine)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("cube.bin")
    dialog.get_by_role("button", name="Replace").click()
    wait_for(lambda: arrived.read_bytes() == b"other", "the file to be replaced")
    arrived.unlink()


def test_an_upload_goes_on_after_the_page_was_loaded_again(
    panel: Panel, home: Area, tmp_path: Path
) -> None:
    page = panel.page
    content = os.urandom(40 << 20)
    mine = tmp_path / "long.bin"
    mine.write_bytes(content)
    page.on("dialog", lambda dialog: dialog.accept())
    # The line breaks after the first piece, as far as this page can tell.
    passed: list[str] = []

    def gate(route: object) -> None:
        passed.append("")
        if len(passed) == 1:
            route.continue_()  # type: ignore[attr-defined]
        else:
            route.abort()  # type: ignore[attr-defined]

    page.route("**/canfar/transfers/*/content", gate)
    panel.upload(mine)
    job = panel.storage.get_by_role("listitem").filter(has_text="long.bin")
    expect(job.get_by_role("progressbar")).not_to_have_attribute("aria-valuenow", "0")
    page.unroute("**/canfar/transfers/*/content")
    page.reload()
    panel.show()
    expect(job).to_contain_text("Choose the file again")
    other = tmp_path / "other.bin"
    other.write_bytes(bytes(40 << 20))
    chooser = job.locator("input[type=file]")
    chooser.set_input_files(other)
    expect(job).to_contain_text("not the file")
    chooser.set_input_files(mine)
    arrived = home.root / "m31" / "long.bin"
    wait_for(arrived.exists, "the upload to be done")
    assert hashlib.sha256(arrived.read_bytes()).digest() == hashlib.sha256(content).digest()
    arrived.unlink()


def test_files_are_copied_and_moved_to_another_area(panel: Panel, home: Area, lab: Lab) -> None:
    page = panel.page
    panel.act("cal", "Copy to…")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Area", exact=True).select_option("home")
    dialog.get_by_role("button", name="Copy here").click()
    copied = home.root / "cal"
    wait_for(lambda: len(list(copied.glob("*.fits"))) == 5, "the folder to be copied")
    panel.go(_seen(lab, ""))
    panel.act("cal", "Move to…")
    dialog.get_by_label("Area", exact=True).select_option("scratch")
    dialog.get_by_role("button", name="Move here").click()
    wait_for(lambda: not copied.exists(), "the folder to be moved")
    panel.storage.get_by_label("Area", exact=True).select_option("scratch")
    expect(panel.row("cal")).to_be_visible()
    panel.act("cal", "Delete…")
    expect(dialog).to_contain_text("5 files in 1 folder")
    dialog.get_by_role("button", name="Delete").click()
    expect(panel.row("cal")).to_have_count(0)


def test_replace_says_each_file_that_it_replaces(
    panel: Panel, home: Area, lab: Lab, screenshots: Path
) -> None:
    names = ["night_1.fits", "night_2.fits", "night_3.fits"]
    for name in names:
        home.write(f"tonight/{name}", b"new")
    for name in names[::2]:
        home.write(name, b"old")

    def there() -> list[bytes]:
        found = [home.root / name for name in names]
        return [path.read_bytes() if path.exists() else b"" for path in found]

    dialog = panel.page.get_by_role("dialog")
    for answer in ("Cancel", "Replace 2 files"):
        panel.go(_seen(lab, "tonight"))
        panel.row(names[0]).click()
        panel.page.keyboard.press("Control+a")
        panel.act(names[0], "Copy to…")
        dialog.get_by_label("Area", exact=True).select_option("home")
        dialog.get_by_role("button", name="Copy here").click()
        expect(dialog).to_contain_text("2 names are taken")
        expect(dialog.get_by_role("listitem")).to_have_text(names[::2])
        assert there() == [b"old", b"", b"old"]
        panel.page.screenshot(path=screenshots / "storage-names-taken.png")
        dialog.get_by_role("button", name=answer).click()
        expect(dialog).to_have_count(0)
    wait_for(lambda: there() == [b"new"] * 3, "the files to be replaced")
    for name in names:
        (home.root / name).unlink()


def test_images_lead_to_carta_by_the_hub_and_scratch_says_why_not(
    panel: Panel, areas: dict[str, Area]
) -> None:
    page = panel.page
    with page.expect_popup() as popup:
        panel.act("m31.fits", "Open in CARTA")
    popup.value.wait_for_load_state()
    assert re.search(r"/hub/home\?open=.*m31%2Fm31\.fits$", popup.value.url)
    popup.value.close()
    areas["scratch"].write("tmp.fits")
    panel.storage.get_by_label("Area", exact=True).select_option("scratch")
    panel.row("tmp.fits").click(button="right")
    entry = page.get_by_role("menuitem", name=re.compile("Open in CARTA"))
    expect(entry).to_have_text(re.compile("other sessions do not see this area"))
    expect(entry).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("Escape")


PARTS = ".canfar-panel, .canfar-preview, .jp-Dialog"
"""What is ours of the page; JupyterLab's launcher has shortfalls of its own."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_it_in_either_theme_and_where_there_is_little_room(
    panel: Panel, theme: str, screenshots: Path, need: Need
) -> None:
    need("axe", axe.SCRIPT.exists(), "get it with: make environments")
    page = panel.page
    panel.kept("home", "m31")
    panel.theme(theme)
    panel.width(280)
    expect(panel.row("cal")).to_be_visible()
    overflow = panel.storage.evaluate("storage => storage.scrollWidth - storage.clientWidth")
    assert overflow <= 0
    assert axe.shortfalls_in(page, PARTS) == []
    page.screenshot(path=screenshots / f"storage-{theme}.png")
    panel.act("cal", "Copy to…")
    expect(page.get_by_role("dialog").get_by_role("listbox")).to_be_visible()
    assert axe.shortfalls_in(page, PARTS) == []
    page.keyboard.press("Escape")
    panel.row("m31.fits").dblclick()
    expect(page.locator(".canfar-preview").get_by_role("row").first).to_be_visible()
    assert axe.shortfalls_in(page, PARTS) == []
    panel.theme("light")
