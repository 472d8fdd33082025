from __future__ import annotations

import pytest
from pydantic import ValidationError

from canfar_spawner.core.identity import PosixGroup, PosixIdentity
from tests.core.world import ADA, STAFF

DATA = {"name": "ada", "uid": 5001, "group": {"name": "ada", "gid": 5001}}


@pytest.mark.parametrize(
    "value",
    [0, -1, 1, 999, 2**31 - 1, 2**32, 2**64, True, None, "", "5001", 5001.0, [5001]],
    ids=repr,
)
@pytest.mark.parametrize("field", ["uid", "gid", "supplementary"])
def test_ids_of_the_system_or_of_nobody_are_refused(field: str, value: object) -> None:
    data = {
        "uid": {**DATA, "uid": value},
        "gid": {**DATA, "group": {"name": "ada", "gid": value}},
        "supplementary": {**DATA, "groups": ({"name": "x", "gid": value},)},
    }[field]
    with pytest.raises(ValidationError):
        PosixIdentity.model_validate(data)


@pytest.mark.parametrize("field", ["name", "uid", "group"])
def test_there_is_no_default_identity(field: str) -> None:
    with pytest.raises(ValidationError, match="Field required"):
        PosixIdentity.model_validate({key: DATA[key] for key in DATA if key != field})


@pytest.mark.parametrize("value", [1000, 2**31 - 2])
def test_the_bounds_themselves_are_ids(value: int) -> None:
    assert PosixIdentity.model_validate({**DATA, "uid": value}).uid == value


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a/b", "../x", "A", "1a", "-a", "a b", "a\n", "a\0", "é", "x" * 33),
        *("{user}", "a:b", "root:x", "a\u2028", None, 5),
    ],
    ids=repr,
)
def test_names_that_are_no_file_names_are_refused(name: object) -> None:
    with pytest.raises(ValidationError):
        PosixIdentity.model_validate({**DATA, "name": name})


@pytest.mark.parametrize("name", ["ada", "_a", "a.b-c_d1", "x" * 32])
def test_ordinary_names_are_taken(name: str) -> None:
    assert PosixIdentity.model_validate({**DATA, "name": name}).name == name


def test_unknown_facts_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        PosixIdentity.model_validate({**DATA, "shell": "/bin/sh"})


def test_group_ids_leave_out_the_primary_one() -> None:
    group = PosixGroup(name="ada", gid=5001)
    identity = ADA.model_copy(
        update={"groups": (PosixGroup(name="z", gid=9000), group, PosixGroup(name="y", gid=8000))}
    )
    assert identity.gids == (8000, 9000)
    assert identity.group_names == {"ada", "y", "z"}


def test_group_names_are_all_groups() -> None:
    assert STAFF.group_names == {"sam", "demo", "staff", "heavy"}
