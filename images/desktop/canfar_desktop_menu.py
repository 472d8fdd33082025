# ruff: noqa: INP001 - beside the program that it is part of, not in a package
"""The menu of a desktop and its looks: what this machine has, and nothing else."""

from __future__ import annotations

import configparser
import html
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_APPLICATIONS = Path("/usr/share/applications")
_PYTHONS = ("/opt/canfar", "/opt/casa", "/usr/local", "/usr")
"""Where CASA's packages may be installed."""
_CASA = Path(__file__).resolve().parent / "share" / "casa.py"
_IPYTHON = ("-m", "IPython", "--TerminalInteractiveShell.term_title=False")
_BROWSERS = (
    *("firefox-esr", "firefox", "epiphany-browser", "falkon", "chromium", "netsurf-gtk", "netsurf"),
    "dillo",
)
_EDITORS = ("mousepad", "geany", "gedit", "featherpad", "xedit")
_FILES = ("pcmanfm", "thunar", "pcmanfm-qt", "nautilus")
_OURS = {
    *("ds9", "saods9", "topcat", "xterm", "uxterm", *_BROWSERS, *_EDITORS, *_FILES),
    # Belong to the desktop itself.
    *("openbox", "tint2", "tint2conf", "jgmenu", "jgmenu_run", "tkcon"),
}
_SCIENCE = {"Astronomy", "Science", "DataVisualization", "Math", "Education"}


@dataclass(frozen=True)
class Entry:
    """One line of the menu."""

    title: str
    command: str
    icon: str = ""
    launcher: bool = False
    """Whether it is on the panel as well."""


@dataclass(frozen=True)
class Look:
    """The files that the parts of the desktop are started with."""

    window_manager: Path
    panel: Path


def _first(names: tuple[str, ...]) -> str | None:
    return next((name for name in names if shutil.which(name)), None)


def _casa() -> Entry | None:
    """Find CASA: its own program, or its packages."""
    if shutil.which("casa"):
        return Entry("CASA", "xterm -T CASA -e casa", "utilities-terminal")
    for prefix in map(Path, _PYTHONS):
        for packages in sorted(prefix.glob("lib/python3*/*-packages")):
            if not (packages / "casatasks").is_dir():
                continue
            shell = _IPYTHON if (packages / "IPython").is_dir() else ()
            words = [str(prefix / "bin" / "python3"), *shell, "-i", str(_CASA)]
            return Entry("CASA", f"xterm -T CASA -e {shlex.join(words)}", "utilities-terminal")
    return None


def astronomy() -> Iterator[Entry]:
    """Give the programs for astronomy that this platform knows."""
    if shutil.which("ds9"):
        yield Entry("SAOImage DS9", "ds9", "SAOImageDS9", launcher=True)
    if shutil.which("topcat"):
        yield Entry("TOPCAT", "topcat", "topcat", launcher=True)
    casa = _casa()
    if casa is not None:
        yield casa


def tools() -> Iterator[Entry]:
    """Give terminal, browser and editor."""
    if shutil.which("xterm"):
        yield Entry("Terminal", "xterm", "utilities-terminal", launcher=True)
    browser, editor = _first(_BROWSERS), _first(_EDITORS)
    if browser:
        # As root, which no session is on a cluster, Chromium wants to be told that it is meant.
        options = " --no-sandbox" if browser == "chromium" and os.geteuid() == 0 else ""
        yield Entry("Web browser", f"{browser}{options}", "web-browser", launcher=True)
    if editor:
        yield Entry("Text editor", editor, "accessories-text-editor")


def files() -> Iterator[Entry]:
    """Give the places where files are kept, in the file manager or else in a terminal."""
    manager = _first(_FILES)
    places = (
        ("Home", os.environ.get("CANFAR_HOME") or os.environ.get("HOME"), "user-home"),
        ("Projects", os.environ.get("CANFAR_PROJECTS_DIR"), "folder"),
        ("Scratch", os.environ.get("CANFAR_SCRATCH"), "folder"),
    )
    for title, place, icon in places:
        if not place or not os.access(place, os.X_OK):
            continue
        if manager:
            yield Entry(title, f"{manager} {shlex.quote(place)}", icon, launcher=title == "Home")
        elif shutil.which("xterm"):
            inside = shlex.quote(f"cd {shlex.quote(place)} && exec ${{SHELL:-sh}}")
            yield Entry(title, f"xterm -T {title} -e sh -c {inside}", icon)


def others() -> tuple[list[Entry], list[Entry]]:
    """Give what else is installed and says that it has windows: for science, and the rest."""
    science, rest = [], []
    for file in sorted(_APPLICATIONS.glob("*.desktop")):
        reader = configparser.RawConfigParser(interpolation=None, strict=False)
        reader.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            reader.read(file, encoding="utf-8")
            said = reader["Desktop Entry"]
            words = [word for word in shlex.split(said["Exec"]) if not word.startswith("%")]
        except (KeyError, ValueError, OSError, configparser.Error):
            continue
        hidden = "true" in {said.get("NoDisplay"), said.get("Hidden"), said.get("Terminal")}
        if hidden or not words or Path(words[0]).name in _OURS or not shutil.which(words[0]):
            continue
        entry = Entry(said.get("Name", file.stem).strip(), shlex.join(words), said.get("Icon", ""))
        categories = set(said.get("Categories", "").split(";"))
        (science if categories & _SCIENCE else rest).append(entry)
    return science, rest


def sections() -> list[tuple[str, list[Entry]]]:
    """Give the whole menu, without empty sections."""
    science, rest = others()
    found = [
        ("Astronomy", [*astronomy(), *science]),
        ("Tools", list(tools())),
        ("Files", list(files())),
        ("More programs", rest),
    ]
    return [(title, entries) for title, entries in found if entries]


def _field(text: str) -> str:
    """Write a field for jgmenu, whose only quotes are three in a row."""
    return f'"""{text}"""' if "," in text else text


def jgmenu(menu: list[tuple[str, list[Entry]]]) -> str:
    """Write the menu for jgmenu; what the platform does not know is one level down."""
    lines, below = [], []
    for title, entries in menu:
        last = title == "More programs"
        if last:
            lines += ["^sep()", "More programs,^checkout(more),applications-other"]
            below += ["^tag(more)"]
        else:
            lines.append(f"^sep({title})")
        (below if last else lines).extend(
            ",".join((_field(html.escape(each.title)), _field(each.command), each.icon))
            for each in entries
        )
    return "\n".join([*lines, *below, ""])


def openbox(menu: list[tuple[str, list[Entry]]]) -> str:
    """Write the menu for the window manager itself, where there is no other."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<openbox_menu xmlns="http://openbox.org/3.4/menu"><menu id="root-menu" label="Menu">',
    ]
    for title, entries in menu:
        lines.append(f'<separator label="{html.escape(title)}"/>')
        lines += [
            f'<item label="{html.escape(each.title)}"><action name="Execute">'
            f"<command>{html.escape(each.command)}</command></action></item>"
            for each in entries
        ]
    return "\n".join([*lines, "</menu></openbox_menu>", ""])


def _filled(source: Path, target: Path, words: Mapping[str, str]) -> Path:
    text = source.read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    target.write_text(text, encoding="utf-8")
    return target


def _launchers(run: Path, menu: list[tuple[str, list[Entry]]]) -> str:
    """Write what the panel starts programs from."""
    directory = run / "applications"
    directory.mkdir()
    lines = []
    for number, entry in enumerate(each for _, some in menu for each in some if each.launcher):
        file = directory / f"{number}.desktop"
        file.write_text(
            "[Desktop Entry]\nType=Application\n"
            f"Name={entry.title}\nExec={entry.command}\nIcon={entry.icon}\n",
            encoding="utf-8",
        )
        lines.append(f"launcher_item_app = {file}")
    return "\n".join(lines)


def _file_manager(run: Path) -> None:
    """Set the file manager up: a terminal that is there, a click that does not delete for good."""
    libfm = run / "xdg" / "libfm"
    libfm.mkdir(parents=True)
    (libfm / "libfm.conf").write_text(
        "[config]\nsingle_click=0\nuse_trash=0\nconfirm_del=1\nterminal=xterm\n"
        "show_thumbnail=0\nthumbnail_local=1\nthumbnail_max=1024\n\n[places]\n"
        "places_home=1\nplaces_desktop=0\nplaces_applications=0\nplaces_trash=0\n"
        "places_root=0\nplaces_computer=0\nplaces_network=0\nplaces_unmounted=0\n",
        encoding="utf-8",
    )


def write(share: Path, run: Path, env: Mapping[str, str]) -> Look:
    """Write the files that the desktop's parts are started with."""
    found = sections()
    _file_manager(run)
    (run / "menu.csv").write_text(jgmenu(found), encoding="utf-8")
    (run / "menu.xml").write_text(openbox(found), encoding="utf-8")
    at_button = at_pointer = ""
    if shutil.which("jgmenu", path=env.get("PATH")):
        command = f"jgmenu --simple --csv-file={run / 'menu.csv'} --config-file="
        for position in ("fixed", "pointer"):
            _filled(share / "jgmenurc", run / f"jgmenurc-{position}", {"position": position})
        at_button, at_pointer = (f"{command}{run}/jgmenurc-{each}" for each in ("fixed", "pointer"))
        root = f'<action name="Execute"><command>{html.escape(at_pointer)}</command></action>'
    else:
        root = '<action name="ShowMenu"><menu>root-menu</menu></action>'
    words = {
        "menu": html.escape(at_button or "true"),
        "root": root,
        "menufile": html.escape(str(run / "menu.xml")),
        "theme": html.escape(str(share / "theme")),
    }
    panel = {"menu": at_button, "launchers": _launchers(run, found)}
    return Look(
        window_manager=_filled(share / "rc.xml", run / "rc.xml", words),
        panel=_filled(share / "tint2rc", run / "tint2rc", panel),
    )
