"""Running the hub of this machine in the foreground, and ending it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from canfar_spawner.core.policy import SitePolicy
from canfar_spawner.local import environments
from canfar_spawner.local import run as supervisor
from canfar_spawner.local.kept import call_off_waiting
from canfar_spawner.local.sample_project import provide
from canfar_spawner.local.settings import (
    LocalSettings,
    demo_password,
    inner_ports,
    port_is_free,
    prepare_data,
    running_launches,
    sessions_service,
)
from canfar_spawner.local.where import catalogue_file, config_file, users_file
from canfar_spawner.site.files import SettingError, SiteFileError, load
from canfar_spawner.site.users_file import Users, missing_groups

_END_WITHIN = 30.0
_UP_WITHIN = 120.0
"""After so long a hub counts as up; its configuration may have it listen where nobody looks."""
_LOOK_EVERY = 0.1
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a service manager, and the closing of the terminal."""
_INTERRUPTED = 130
_PROXY = b"configurable-http-proxy"
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 30.0
"""Seconds before a session manager that ended by itself is started again."""
_BACKGROUND = 10
"""How far the building of environments steps back behind sessions."""


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _handed_on(settings: LocalSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of hub and manager, which run in another directory than this."""
    return {
        **environ,
        "CANFAR_HUB_DATA": str(settings.data),
        "CANFAR_HUB_CACHE": str(environments.cache()),
        "CANFAR_HUB_CONFIG": str(config_file(environ)),
        "CANFAR_HUB_CATALOGUE": str(catalogue_file(environ)),
        "CANFAR_HUB_USERS": str(users_file(environ)),
    }


class _Sessions:
    """The session manager, kept running beside the hub.

    Parameters
    ----------
    settings : LocalSettings
    environ : dict
        What `_handed_on` gives.
    """

    def __init__(self, settings: LocalSettings, environ: dict[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self.took_over = False
        """Whether one ran before, which jobs and sessions may count on."""
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="sessions", daemon=True)

    def start(self) -> None:
        """Replace a manager that an earlier hub has left, and keep one running."""
        self.took_over = end_manager(self._settings)
        self._thread.start()

    def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while not self._over.is_set():
            began = time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "canfar_spawner.cli.main", "sessions"],
                cwd=self._settings.hub,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            if self._over.is_set():
                self._process.terminate()
            status = self._process.wait()
            if self._over.is_set():
                return
            if time.monotonic() - began > _LAST_PAUSE:
                pause = _FIRST_PAUSE
            _say(f"The session manager has ended with status {status}; it is started again.")
            self._over.wait(pause)
            pause = min(2 * pause, _LAST_PAUSE)

    def end(self) -> None:
        """End the manager; sessions and jobs go on."""
        self._over.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(_END_WITHIN)


def end_manager(settings: LocalSettings) -> bool:
    """End a session manager that runs without its hub, and say whether there was one."""
    found = False
    deadline = time.monotonic() + _END_WITHIN
    number = signal.SIGTERM
    while (left := _ours(settings, "sessions.pid")) and b"sessions" in left[1]:
        found = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(left[0], number)
        if time.monotonic() > deadline:
            number = signal.SIGKILL
        time.sleep(_LOOK_EVERY)
    return found


def _plural(count: int) -> str:
    return f"{count} session" if count == 1 else f"{count} sessions"


@contextlib.contextmanager
def _preparing(settings: LocalSettings, policy: SitePolicy) -> Iterator[None]:
    """Build the local environments that containers still lack, beside the running hub."""
    wanted = [
        container.local.environment
        for container in policy.catalogue.containers
        if container.local and container.local.environment
    ]
    missing = [name for name in dict.fromkeys(wanted) if not environments.is_ready(name)]
    # The quickest first: something new can be used soon.
    missing.sort(key=lambda name: environments.ENVIRONMENTS[name].seconds)
    if not settings.prepare or not missing:
        yield
        return
    builder = subprocess.Popen(
        [sys.executable, "-m", "canfar_spawner.local.build", "prepare", "--quiet", *missing],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: os.nice(_BACKGROUND),  # noqa: PLW1509 - no threads here
    )
    try:
        yield
    finally:
        if builder.poll() is None:
            builder.terminate()
            builder.wait()


def _came_up(hub: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the hub listens, and say whether it did before it ended."""
    deadline = time.monotonic() + _UP_WITHIN
    address = ("127.0.0.1", port)
    while hub.poll() is None:
        with contextlib.closing(socket.socket()) as trial:
            # Where nobody listens, a connection may by chance be one with itself.
            listens = trial.connect_ex(address) == 0 and trial.getsockname() != address
        if listens or time.monotonic() > deadline:
            return True
        time.sleep(_LOOK_EVERY)
    return False


def run(environ: Mapping[str, str]) -> int:
    """Run hub and proxy until Ctrl-C or SIGTERM; sessions go on without them.

    Raises
    ------
    SettingError
        A variable cannot be used, or the port is taken.
    SiteFileError
        The catalogue or the users file is broken.
    """
    settings = LocalSettings.read(environ)
    policy = load(catalogue_file(environ), SitePolicy)
    people = users_file(environ)
    users = load(people, Users)
    problems = missing_groups(users, policy.projects)
    if problems:
        raise SiteFileError(people, problems)
    if not port_is_free(settings.port) and not _takes_over(settings):
        raise SettingError(f"Port {settings.port} is in use; choose another with CANFAR_HUB_PORT.")
    prepare_data(settings)
    if _hub_pid(settings) is not None:
        raise SettingError(
            f"A hub runs with {settings.data} already. End it with `make stop`, or choose another"
            " directory with CANFAR_HUB_DATA."
        )
    if _left_proxy(settings) is None:
        # JupyterHub would end whatever process has the pid by now.
        (settings.hub / "proxy.pid").unlink(missing_ok=True)
    # Before hub and manager, which both read them, are there.
    password = demo_password(settings)
    sessions_service(settings)
    hub_port = inner_ports(settings)[0]
    try:
        provide(settings.data, policy, users, say=_say)
    except KeyboardInterrupt:
        return _INTERRUPTED
    handed_on = _handed_on(settings, environ)
    command = [sys.executable, "-m", "jupyterhub", "--config", handed_on["CANFAR_HUB_CONFIG"]]
    asked: list[int] = []
    # Kept until the hub is there to be told.
    for number in _ENDING:
        signal.signal(number, lambda number, _frame: asked.append(number))
    hub = subprocess.Popen(
        command,
        cwd=settings.hub,
        env=handed_on,
        start_new_session=True,
    )
    (settings.hub / "hub.pid").write_text(str(hub.pid))
    manager = _Sessions(settings, handed_on)

    def end(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        hub.send_signal(signal.SIGTERM)

    for number in _ENDING:
        signal.signal(number, end)
    if asked:
        hub.send_signal(signal.SIGTERM)
    manager.start()
    _say(f"CANFAR Hub: {settings.url}")
    _say(f"Sign in as {', '.join(users.users)}; the password is {password}")
    _say(f"Data: {settings.data}. Ctrl-C ends the hub; sessions go on until `make stop`.")
    with _preparing(settings, policy):
        up = _came_up(hub, hub_port)
        status = hub.wait()
    # A hub that died by itself leaves it running: jobs and lifetimes go on without a hub. One that
    # never came up has begun nothing that would have to.
    if asked or not (up or manager.took_over):
        manager.end()
    (settings.hub / "hub.pid").unlink(missing_ok=True)
    left = len(running_launches(settings.data))
    _say(f"The hub has ended. {_plural(left)} still running; `make stop` ends them.")
    # Ended by our own signal is ended well.
    return 0 if status in (0, -signal.SIGTERM, 128 + signal.SIGTERM) else status % 256


def _ours(settings: LocalSettings, name: str) -> tuple[int, list[bytes]] | None:
    """Find the process that a file names, and its arguments; not one that has its pid by now."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((settings.hub / name).read_text())
        # Hub and proxy are started in the hub's own directory, where nothing else is.
        if Path(f"/proc/{pid}/cwd").samefile(settings.hub):
            return pid, Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return None


def _hub_pid(settings: LocalSettings) -> int | None:
    found = _ours(settings, "hub.pid")
    return found[0] if found and b"jupyterhub" in found[1] else None


def _left_proxy(settings: LocalSettings) -> tuple[int, list[bytes]] | None:
    """Find the proxy that a killed hub has left, and its arguments."""
    found = _ours(settings, "proxy.pid")
    is_proxy = found is not None and any(word.endswith(_PROXY) for word in found[1])
    return found if is_proxy and _hub_pid(settings) is None else None


def _takes_over(settings: LocalSettings) -> bool:
    """Say whether the port is that of a left proxy; JupyterHub ends it at its start."""
    left = _left_proxy(settings)
    return left is not None and str(settings.port).encode() in left[1]


def _end_left_proxy(settings: LocalSettings) -> None:
    deadline = time.monotonic() + _END_WITHIN
    while (left := _left_proxy(settings)) and time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError):
            os.kill(left[0], signal.SIGTERM)
        time.sleep(_LOOK_EVERY)


def _wait_until_gone(paths: list[Path]) -> list[Path]:
    deadline = time.monotonic() + _END_WITHIN
    while paths and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY)
        paths = [path for path in paths if supervisor.is_alive(path)]
    return paths


def stop(environ: Mapping[str, str]) -> int:
    """End the hub, if it runs, and all sessions.

    Raises
    ------
    SettingError
        A variable cannot be used, or the directory is another user's.
    """
    settings = LocalSettings.read(environ)
    try:
        return _stop(settings)
    except PermissionError as error:
        raise SettingError(
            f"{error.filename or settings.data} is closed to you: run this as whoever started the"
            " hub, such as with sudo."
        ) from None


def _stop(settings: LocalSettings) -> int:
    # Of one that is closed to us it is not known what runs.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.scandir(settings.hub).close()
    pid = _hub_pid(settings)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _END_WITHIN
        # It could start sessions until it is gone, and holds its port.
        while _hub_pid(settings) == pid and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY)
        _say("The hub has ended." if _hub_pid(settings) != pid else "The hub was told to end.")
    _end_left_proxy(settings)
    end_manager(settings)
    # They would be started by the next manager.
    waiting = call_off_waiting(settings.data)
    if waiting:
        _say(f"{waiting} waiting {'job was' if waiting == 1 else 'jobs were'} taken back.")
    launches = running_launches(settings.data)
    for path in launches:
        supervisor.stop(path)
    stuck = _wait_until_gone(launches)
    for path in stuck:
        supervisor.stop(path)
    stuck = _wait_until_gone(stuck)
    _say(f"{_plural(len(launches) - len(stuck))} ended.")
    for path in stuck:
        _say(f"{path.name} did not end; its supervisor is named in {path / 'state.json'}.")
    return 1 if stuck else 0
