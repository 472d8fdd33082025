"""How CARTA and Firefly are started, against the options that the programs themselves have."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from canfar_spawner.core.kinds import KINDS, SessionKind
from tests.core.launches import GOLDEN, SHARED, launches, written
from tests.support.carta_standin import options
from tests.support.hub import ROOT

NAMES = tuple(launches())
CARTA = tuple(name for name in NAMES if name.startswith("carta"))
FIREFLY = tuple(name for name in NAMES if name.startswith("firefly"))
VARIABLES = json.loads(
    (ROOT / "tests" / "support" / "firefly_standin" / "variables.json").read_text()
)


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return found


def carta(name: str) -> options.Options:
    program, *words = read(name)["argv"]
    assert program == options.TABLE["program"]
    return options.parse(words)


def test_every_file_belongs_to_a_launch() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_launch_is_as_it_was(name: str) -> None:
    # After a change that is meant: python -m tests.core.launches
    assert written(launches()[name]) == (GOLDEN / f"{name}.json").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_secret_is_in_one_variable_and_nothing_of_the_hubs_is_told(name: str) -> None:
    launch = read(name)
    told = launch.pop("told")
    held = [variable for variable, value in told.items() if value == SHARED]
    assert held == (["CARTA_AUTH_TOKEN"] if name in CARTA else [])
    assert SHARED not in json.dumps(launch)
    assert "a token of the hub" not in (GOLDEN / f"{name}.json").read_text()


@pytest.mark.parametrize("name", CARTA)
def test_carta_knows_every_option(name: str) -> None:
    given = carta(name)
    table = {each["name"]: each for each in options.TABLE["options"]}
    assert not [each for each in given.values if table[each].get("note") == "deprecated"]
    assert not [each for each in given.values if not table[each]["in_both"]]
    assert set(read(name)["told"]) & set(options.TABLE["environment"]) == {"CARTA_AUTH_TOKEN"}
    header, value = read(name)["gateway"]["secret_header"]
    assert f"header {header}: {value.split()[0]}" in options.TABLE["token_from"]


@pytest.mark.parametrize("name", CARTA)
def test_carta_is_open_to_the_gateway_alone_and_keeps_its_token_to_itself(name: str) -> None:
    given = carta(name)
    assert given.text("host", "0.0.0.0") == "127.0.0.1"  # noqa: S104 - what it does by itself
    assert given.number("port", 0) == read(name)["gateway"]["listening"]["port"]
    assert "debug_no_auth" not in given
    assert given.number("verbosity", 4) < options.TABLE["token_written_from_verbosity"]
    assert "no_log" in given
    assert "no_browser" in given
    assert "enable_scripting" in given
    # The platform alone says when a session ends.
    assert not {"exit_timeout", "initial_timeout", "idle_timeout"} & set(given.values)


@pytest.mark.parametrize(
    ("name", "top", "start", "threads"),
    [
        ("carta", "/arc", "/arc/home/ada", 1),
        ("carta-project", "/arc", "/arc/projects/demo", 1),
        ("carta-fixed", "/arc", "/arc/home/ada", 4),
        ("carta-open", "/arc", "/arc/projects/demo", 1),
        (
            "carta-bare-machine",
            "/srv/canfar/data/arc",
            "/srv/canfar/data/arc/projects/demo",
            1,
        ),
    ],
)
def test_carta_begins_in_its_folder(name: str, top: str, start: str, threads: int) -> None:
    given = carta(name)
    assert given.text("top_level_folder", "/") == top
    assert given.positional == [start]
    assert PurePosixPath(start).is_relative_to(top), "the real program ends otherwise"
    assert given.number("omp_threads", -1) == threads


@pytest.mark.parametrize("name", ["carta-open", "carta-bare-machine"])
def test_carta_opens_a_file_by_its_address(name: str) -> None:
    page = urlsplit(read(name)["gateway"]["start"])
    assert page.path == "/", "anything longer would be where its page looks for the server"
    # The real program puts the folder behind its top one, and does so even with an absolute one.
    assert parse_qs(page.query) == {
        "folder": ["projects/demo"],
        "file": ["line cube & more.fits"],
    }


@pytest.mark.parametrize(
    ("argv", "refused"),
    [
        (["--http_url_prefix", "/user/ada/"], "Option '--http_url_prefix' does not exist"),
        (["--port"], "Option 'port' is missing an argument"),
        (["--port", "many"], "Argument 'many' failed to parse"),
        (["--top_level_folder", "--no_browser"], "is missing an argument"),
    ],
)
def test_what_the_table_does_not_have_is_refused(argv: list[str], refused: str) -> None:
    with pytest.raises(options.BadOptionError, match=refused):
        options.parse(argv)


def test_options_are_read_as_the_program_reads_them() -> None:
    given = options.parse(["--exit_timeout=-1", "-p", "3002", "--no_log", "/arc/home/ada"])
    assert given.number("exit_timeout", 0) == -1
    assert given.number("port", 0) == 3002
    assert "no_log" in given
    assert given.positional == ["/arc/home/ada"]


@pytest.mark.parametrize("name", FIREFLY)
def test_firefly_knows_every_variable(name: str) -> None:
    launch = read(name)
    assert launch["argv"] == [], "its image's own program"
    assert set(launch["env"]) <= set(VARIABLES["variables"])
    # Written to the log by the image.
    assert "ADMIN_PASSWORD" not in launch["env"]
    assert "DEBUG" not in launch["env"]
    assert KINDS[SessionKind.FIREFLY].port == VARIABLES["port"]


@pytest.mark.parametrize(
    ("name", "owner", "arc"),
    [("firefly", "ada.lovelace", "/arc"), ("firefly-bare-machine", "ada", "/srv/canfar/data/arc")],
)
def test_firefly_is_told_its_address_its_files_and_its_size(
    name: str, owner: str, arc: str
) -> None:
    launch = read(name)
    prefix = launch["env"]["baseURL"]
    assert prefix == f"/user/{owner}/k3vd81qa/"
    # The image makes this the name of a directory, with # for /.
    assert "#" not in prefix
    assert launch["env"]["VISUALIZE_FITS_SEARCH_PATH"] == arc
    heap = int(launch["env"]["MAX_RAM_PERCENT"])
    assert int(launch["env"]["INIT_RAM_PERCENT"]) < heap <= 80
    assert launch["gateway"]["keeps_prefix"]
    application = f"/{VARIABLES['application']}/"
    assert launch["gateway"]["start"] == application
    assert launch["gateway"]["ready_path"] == f"{application}healthz"
