"""The gateway beside jupyter-server-proxy, configurable-http-proxy and the bare upstream.

``make -s bench-gateway`` or ``python bench/gateway.py [--rounds N] [--seconds S] [--assert]``: one
upstream, all in front of it at once, measured in turns; each round begins with another one. The
gateway is asked itself, as a session's own proxy is, and signs in everybody who asks. Requests a
second are measured once more in front of an application of tornado's, where proxies wait for it as
they do in a session.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import load

from canfar_spawner.core.gateway import Listening
from canfar_spawner.local import environments
from tests.conftest import write_probe_catalogue
from tests.support.gateway import Gated, gated, memory, with_relays
from tests.support.guest import enter_page
from tests.support.hub import ROOT, free_port, running_hub, wait_for
from tests.support.wire import Wire

BARE, CHP, JSP, OURS = "bare upstream", "configurable-http-proxy", "jupyter-server-proxy", "gateway"
COOKIE, SOCKET = "gateway, by cookie", "gateway, unix socket"
APPLICATION = "an application of tornado's"
_CLIENTS = 8
_CALLS = 1000
_ECHOES = 500
_BULK = 64 << 20
"""Bytes; jupyter-server-proxy passes no answer of more than 100 MB."""
_GIGABYTE = 1 << 30


@contextlib.contextmanager
def _process(directory: Path, name: str, port: int, *command: str, **environ: str) -> Iterator[int]:
    """Run a program until the end of a block, from when it listens."""
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=directory, stdout=log, stderr=log, env={**os.environ, **environ}
        )

    def listens() -> bool:
        if process.poll() is not None:
            raise RuntimeError((directory / f"{name}.log").read_text()[-4000:])
        with contextlib.suppress(OSError):
            Wire(port).close()
            return True
        return False

    try:
        wait_for(listens, f"{name} to listen")
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextlib.contextmanager
def _others(directory: Path, upstream: int) -> Iterator[list[load.Target]]:
    """Run what the gateway is measured beside."""
    directory.mkdir(exist_ok=True)
    chp, api, jsp = free_port(), free_port(), free_port()
    token = secrets.token_hex(16)
    jupyter = environments.location("bench") / "bin" / "jupyter-server"
    own = {
        name: str(directory / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    with (
        _process(
            directory,
            "chp",
            chp,
            *environments.proxy_command(),
            *("--ip", "127.0.0.1", "--port", str(chp), "--api-port", str(api)),
            *("--default-target", f"http://127.0.0.1:{upstream}", "--log-level", "error"),
            CONFIGPROXY_AUTH_TOKEN=token,
        ),
        _process(
            directory,
            "jsp",
            jsp,
            str(jupyter),
            *("--no-browser", "--allow-root", "--log-level=ERROR", "--ServerApp.ip=127.0.0.1"),
            *(f"--ServerApp.port={jsp}", "--ServerApp.port_retries=0"),
            f"--ServerApp.root_dir={directory}",
            JUPYTER_TOKEN=token,
            **own,
        ),
    ):
        yield [
            load.Target(CHP, chp),
            load.Target(JSP, jsp, f"/proxy/{upstream}/", (("Authorization", f"token {token}"),)),
        ]


def _ours(session: Gated, title: str, port: int = 0) -> load.Target:
    headers = tuple(session.token.items())
    return load.Target(title, port or session.port, session.prefix, headers)


def _with_cookie(session: Gated) -> load.Target:
    address = f"{session.origin}{session.prefix}small"
    enter_page(session.owner, address)
    cookie = session.owner.client.build_request("GET", address).headers["Cookie"]
    headers = (("Cookie", cookie), ("Origin", session.origin))
    return load.Target(COOKIE, session.port, session.prefix, headers, session.host)


Figures = dict[str, dict[str, list[float]]]


def _print_before_application(figures: Figures) -> None:
    bare = _middle(figures, APPLICATION, "requests")
    print("\n| Before an application of tornado's | requests/s | of the application's |")
    print("|---|---|---|")
    for title in figures:
        rate = _middle(figures, title, "requests")
        print(f"| {title} | {rate:,.0f} | {rate / bare:.2f} |")


def _measure(target: load.Target, seconds: float, into: dict[str, list[float]]) -> None:
    into["requests"].append(load.rate(target, clients=_CLIENTS, seconds=seconds))
    into["echoes"].append(load.rate(target, clients=_CLIENTS, seconds=seconds, ws=True))
    for word, ws, count in (("call", False, _CALLS), ("echo", True, _ECHOES)):
        times = load.latencies(target, count, ws=ws)
        into[f"{word} p50"].append(times[len(times) // 2] * 1000)
        into[f"{word} p99"].append(times[len(times) * 99 // 100] * 1000)
    into["down"].append(load.download(target, _BULK))
    into["up"].append(load.upload(target, _BULK))


def _middle(figures: Figures, title: str, what: str) -> float:
    return statistics.median(figures[title][what])


def _added(figures: Figures, title: str, what: str) -> float:
    """Give what is added to the bare upstream's time, each round's to that of the same round."""
    pairs = zip(figures[title][what], figures[BARE][what], strict=True)
    return statistics.median(mine - bare for mine, bare in pairs)


def _print(figures: Figures) -> None:
    print(
        "| What | requests/s | of bare | added p50 (ms) | p99 | down (MB/s) | up |"
        " echoes/s | echo added p50 (ms) | p99 |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for title in figures:
        rate = _middle(figures, title, "requests")
        cells = [
            f"{rate:,.0f}",
            f"{rate / _middle(figures, BARE, 'requests'):.2f}",
            *(f"{_added(figures, title, word):.2f}" for word in ("call p50", "call p99")),
            *(f"{_middle(figures, title, word):,.0f}" for word in ("down", "up", "echoes")),
            *(f"{_added(figures, title, word):.2f}" for word in ("echo p50", "echo p99")),
        ]
        print(f"| {title} | {' | '.join(cells)} |")


def _aims(figures: Figures, slower: Figures) -> list[tuple[str, float, float, bool]]:
    """Give each aim: what, how it is, how it should be, and whether it is met."""

    def ratio(what: str, other: str) -> float:
        return _middle(figures, OURS, what) / _middle(figures, other, what)

    beside = _middle(slower, OURS, "requests") / _middle(slower, CHP, "requests")
    found = [
        ("requests/s of jupyter-server-proxy's, at least", ratio("requests", JSP), 2.5),
        ("requests/s of configurable-http-proxy's before nothing", ratio("requests", CHP), 1.0),
        ("requests/s of configurable-http-proxy's before an application", beside, 1.0),
        ("MB/s down of configurable-http-proxy's, at least", ratio("down", CHP), 2.0),
        ("MB/s up of configurable-http-proxy's, at least", ratio("up", CHP), 2.0),
    ]
    slowest = _added(figures, OURS, "call p99")
    return [
        *((what, is_, aim, is_ >= aim) for what, is_, aim in found),
        ("p99 added at one request after the other (ms), at most", slowest, 2.0, slowest <= 2.0),
    ]


def _memory(target: load.Target, pid: int) -> list[tuple[str, int, int]]:
    """Give the memory of a gateway before, and at most while, a gigabyte passes each way."""
    found = []
    for word, pass_through in (("down", load.download), ("up", load.upload)):
        idle = memory(pid)
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        pass_through(target, _GIGABYTE)
        found.append((word, idle, memory(pid, "VmHWM")))
    return found


Grown = list[tuple[str, int, int]]


def _run(rounds: int, seconds: float) -> tuple[Figures, Figures, Grown]:
    """Measure everything in turns: before what does next to nothing, and before an application."""
    figures: Figures = defaultdict(lambda: defaultdict(list))
    before_application: Figures = defaultdict(lambda: defaultdict(list))
    port, slower = free_port(), free_port()
    ours = {"gated": free_port(), "bysocket": free_port(), "slower": free_port()}
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place.chmod(0o755)
        sock = place / "upstream.sock"
        bench = ROOT / "bench"
        upstream = (sys.executable, str(bench / "upstream.py"), str(port), str(sock))
        stack.enter_context(_process(place, "upstream", port, *upstream))
        application = (sys.executable, str(bench / "application.py"), str(slower))
        stack.enter_context(_process(place, "application", slower, *application))
        others = stack.enter_context(_others(place / "others", port))
        more = stack.enter_context(_others(place / "more", slower))
        catalogue = write_probe_catalogue(place / "catalogue.yaml")
        with_relays(catalogue, **ours)
        environ = {"CANFAR_HUB_CATALOGUE": str(catalogue)}
        hub = stack.enter_context(running_hub(place / "data", environ=environ))
        ada = hub.sign_in("ada")
        sessions = {}
        for name, listening in (
            ("gated", Listening(port=port)),
            ("bysocket", Listening(socket=str(sock))),
            ("slower", Listening(port=slower)),
        ):
            (place / name).mkdir()
            sessions[name] = stack.enter_context(
                gated(ada, name, ours[name], place / name, listening=listening)
            )
        targets = [
            load.Target(BARE, port),
            _ours(sessions["gated"], OURS),
            _with_cookie(sessions["gated"]),
            _ours(sessions["bysocket"], SOCKET),
            *others,
        ]
        slow = [load.Target(APPLICATION, slower), _ours(sessions["slower"], OURS), *more]
        for target in (*targets, *slow):
            load.rate(target, clients=_CLIENTS, seconds=0.5)
        for target in targets:
            load.rate(target, clients=1, seconds=0.1, ws=True)
        for turn in range(rounds):
            for target in _turned(targets, turn):
                _measure(target, seconds, figures[target.title])
            for target in _turned(slow, turn):
                found = load.rate(target, clients=_CLIENTS, seconds=seconds)
                before_application[target.title]["requests"].append(found)
            print(f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
        gateway = sessions["gated"].gateway
        assert gateway is not None  # noqa: S101 - it has answered all the while
        return figures, before_application, _memory(targets[1], gateway.pid)


def _turned(targets: list[load.Target], turn: int) -> list[load.Target]:
    first = turn % len(targets)
    return [*targets[first:], *targets[:first]]


def main() -> int:
    """Run the comparison and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--assert", dest="check", action="store_true", help="fail below the aims")
    arguments = parser.parse_args()
    if not environments.is_ready("bench"):
        print("The environment bench is not built; run make bench-gateway.", file=sys.stderr)
        return 2
    print(
        f"load {os.getloadavg()[0]:.1f} before, {os.cpu_count()} cores, {arguments.rounds} rounds"
    )
    figures, slower, grown = _run(arguments.rounds, arguments.seconds)
    print(f"load {os.getloadavg()[0]:.1f} after")
    _print(figures)
    _print_before_application(slower)
    print("\n| Aim | is | should be | met |\n|---|---|---|---|")
    aims = _aims(figures, slower)
    for what, is_, aim, met in aims:
        print(f"| {what} | {is_:.2f} | {aim} | {'yes' if met else 'no'} |")
    print("\n| A gigabyte | memory before (MB) | at most |\n|---|---|---|")
    for word, idle, most in grown:
        print(f"| {word} | {idle / 1e6:.0f} | {most / 1e6:.0f} |")
    missed = arguments.check and not all(met for *_, met in aims)
    return int(missed or (arguments.check and any(most - idle > 20e6 for _, idle, most in grown)))


if __name__ == "__main__":
    sys.exit(main())
