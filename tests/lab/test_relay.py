"""Which of the panel's questions go to the session manager, and what the kernel counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from canfar_lab.panel import relay
from canfar_lab.panel.usage import Count, Meter, count

WHERE = {"owner": "ada", "session": "abcd1234"}


def test_every_question_is_about_this_session_alone() -> None:
    for path in relay.PATHS:
        for method in relay.methods(path):
            found = relay.target(method, path, **WHERE)
            assert found is not None
            assert "abcd1234" in found.split("?")[0].split("/"), (method, path)


@pytest.mark.parametrize(
    ("method", "path", "more", "expected"),
    [
        ("GET", "session", {}, "session/abcd1234"),
        ("POST", "session/extend", {}, "session/abcd1234?action=renew"),
        ("DELETE", "sharing/shares", {}, "session/abcd1234/shares"),
        ("DELETE", "sharing/shares", {"share": "s1"}, "session/abcd1234/shares/s1"),
        ("DELETE", "sharing/shares", {"user": "b&n"}, "session/abcd1234/shares?user=b%26n"),
        ("DELETE", "visit", {}, "shared/ada/abcd1234"),
    ],
)
def test_where_a_question_goes(method: str, path: str, more: dict[str, str], expected: str) -> None:
    assert relay.target(method, path, **WHERE, **more) == expected


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "session"), ("POST", "visit"), ("GET", "../session"), ("GET", "")]
)
def test_what_is_not_listed_goes_nowhere(method: str, path: str) -> None:
    assert relay.target(method, path, **WHERE) is None


def test_what_a_caller_names_stays_one_part_of_the_address() -> None:
    for hostile in ("../../session/other", "s1?x=1", "s1#x", "%2e%2e", "a/b"):
        found = relay.target("DELETE", "sharing/shares", **WHERE, share=hostile)
        assert found is not None
        head, _, last = found.rpartition("/")
        assert head == "session/abcd1234/shares"
        assert not set(last) & set("?#/")


def second(root: Path, *, limit: str = "4294967296", memory: int = 1_000, cpu: int = 5) -> Path:
    (root / "memory.current").write_text(f"{memory}\n")
    (root / "memory.max").write_text(f"{limit}\n")
    (root / "memory.stat").write_text("anon 1\nfile 2\ninactive_file 100\n")
    (root / "cpu.stat").write_text(f"usage_usec {cpu}\nuser_usec 1\n")
    return root


def test_a_control_group_of_version_2_is_read(tmp_path: Path) -> None:
    assert count(second(tmp_path, cpu=2_500_000)) == Count(900, 2**32, 2.5)


def test_a_control_group_of_version_1_is_read(tmp_path: Path) -> None:
    for name in ("memory", "cpuacct"):
        (tmp_path / name).mkdir()
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("1000\n")
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("4294967296\n")
    (tmp_path / "memory" / "memory.stat").write_text("total_inactive_file 100\n")
    (tmp_path / "cpuacct" / "cpuacct.usage").write_text("2500000000\n")
    assert count(tmp_path) == Count(900, 2**32, 2.5)


def test_without_a_limit_of_its_own_the_count_is_not_the_sessions(tmp_path: Path) -> None:
    assert count(tmp_path) is None
    assert count(second(tmp_path, limit="max")) is None
    whole_machine = Count(10, 2**40, 1.0)
    assert Meter(4 * 2**30, lambda: whole_machine).read() is None
    assert Meter(0, lambda: Count(10, 2**32, 1.0)).read() is None


def test_cores_are_those_between_two_counts() -> None:
    cpu, now = [10.0], [100.0]
    meter = Meter(2**32, lambda: Count(7, 2**32, cpu[0]), lambda: now[0])
    assert meter.read() == {"memory": 7, "memoryLimit": 2**32, "cores": None}
    cpu[0], now[0] = 15.0, 110.0
    assert meter.read() == {"memory": 7, "memoryLimit": 2**32, "cores": 0.5}
    # Asked twice at once, it does not divide by nothing.
    now[0] = 110.1
    assert meter.read() == {"memory": 7, "memoryLimit": 2**32, "cores": 0.5}
