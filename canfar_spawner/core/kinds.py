"""The kinds of session and what sets each apart."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from canfar_spawner.core.frozen import Frozen
from canfar_spawner.core.resources import ResourceMode


class SessionKind(StrEnum):
    """What a session offers; the words are those of the wire contract."""

    NOTEBOOK = "notebook"
    DESKTOP = "desktop"
    CARTA = "carta"
    FIREFLY = "firefly"
    CONTRIBUTED = "contributed"
    HEADLESS = "headless"


class Entry(StrEnum):
    """Who answers at the session's address."""

    DIRECT = "direct"
    """The image's own Jupyter server, which checks the visitor itself."""
    GATEWAY = "gateway"
    """The gateway, in front of an application that knows nothing of the hub."""


class IdleRule(StrEnum):
    """What counts as activity where a site ends idle sessions."""

    KERNELS = "kernels"
    TRAFFIC = "traffic"
    NEVER = "never"


class Transport(StrEnum):
    """What the gateway and an application say to each other."""

    HTTP = "http"
    STREAM = "stream"
    """Bytes of a socket, which the gateway shows as one WebSocket: VNC."""


class Application(Frozen):
    """How a kind's application is started and spoken to behind the gateway.

    In ``argv``, ``env`` and ``secret_header`` these stand for what is known at the start:
    ``{port}`` and ``{socket}`` where to listen, ``{prefix}`` the session's address without host,
    ``{arc}`` the directory that holds homes and projects, ``{home}``, ``{projects}`` and
    ``{scratch}``, ``{start}`` the directory to begin in, ``{private}`` the session's own directory,
    ``{threads}`` how many threads to use, and ``{secret}``, in the header alone, what gateway and
    application share.
    """

    argv: tuple[str, ...] = ()
    """Program and arguments; empty means the image's own."""
    env: tuple[tuple[str, str], ...] = ()
    secret_env: str = ""
    """The variable in which the application is told the secret; empty: it takes none."""
    secret_header: tuple[str, str] | None = None
    """The header in which the gateway shows it the secret: name and value."""
    transport: Transport = Transport.HTTP
    pages: str = ""
    """The gateway's own pages in front of it, by name; empty: the application's."""
    rewrites: tuple[str, ...] = ()
    """What the gateway changes in its answers beyond the path prefix, by name."""
    beats: tuple[str, ...] = ()
    """What its page says on a WebSocket again and again, without anybody at it: up to eight letters."""


class KindSpec(Frozen):
    """Everything that differs from kind to kind, so that no other code asks which it is."""

    title: str
    """The word on pages."""
    icon: str
    entry: Entry
    port: int | None
    """Where the application listens inside a pod; none for batch jobs."""
    keeps_prefix: bool
    """Whether the application sees its own address prefix or ``/``."""
    ready_path: str
    """Answers below 500 once the application is usable."""
    default_image: str
    """The image name under the site's registry and project that serves this kind."""
    modes: tuple[ResourceMode, ...]
    interactive: bool
    """Counts against the limit of sessions at the same time."""
    has_command: bool
    """Whether ``cmd`` and ``args`` mean anything."""
    idle: IdleRule
    page: str = "/"
    """The page that a session opens with, below its address."""
    open_page: str = ""
    """The same where a file is to be opened: ``{view}`` is its path in JupyterLab's view, ``{path}``
    its own path, ``{folder}`` its directory below the one that holds homes and projects, ``{name}``
    its name; empty: nothing opens files."""
    open_endings: tuple[str, ...] = ()
    """How the names of files end that it is for; none: it is for every file."""
    application: Application = Application()
    """What is behind the gateway, where there is one."""
    panel: bool = False
    """Whether the platform's panel may be beside the application, and storage in it."""


FITS: Final = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz")
"""How the names of files with images end that every viewer here can show."""

_BOTH = (ResourceMode.FLEXIBLE, ResourceMode.FIXED)

KINDS: Final[dict[SessionKind, KindSpec]] = {
    SessionKind.NOTEBOOK: KindSpec(
        title="Notebook",
        icon="notebook",
        entry=Entry.DIRECT,
        port=8888,
        keeps_prefix=True,
        ready_path="/api",
        default_image="notebook",
        modes=_BOTH,
        interactive=True,
        has_command=False,
        idle=IdleRule.KERNELS,
        page="/lab",
        open_page="/lab/tree/{view}",
        panel=True,
        # For an image that carries nothing of the platform; any other answers for itself.
        application=Application(
            argv=(
                "jupyter",
                "lab",
                "--no-browser",
                "--ServerApp.ip=127.0.0.1",
                "--ServerApp.port={port}",
                "--ServerApp.port_retries=0",
                "--ServerApp.base_url={prefix}",
                "--ServerApp.allow_remote_access=True",
            ),
            secret_env="JUPYTER_TOKEN",  # noqa: S106 - the variable's name
            secret_header=("Authorization", "token {secret}"),
        ),
    ),
    SessionKind.DESKTOP: KindSpec(
        title="Desktop",
        icon="desktop",
        entry=Entry.GATEWAY,
        port=None,
        keeps_prefix=False,
        ready_path="/",
        default_image="desktop",
        modes=(ResourceMode.FLEXIBLE,),
        interactive=True,
        has_command=False,
        idle=IdleRule.TRAFFIC,
        application=Application(
            argv=("canfar-desktop", "{socket}"), transport=Transport.STREAM, pages="desktop"
        ),
    ),
    SessionKind.CARTA: KindSpec(
        title="CARTA",
        icon="carta",
        entry=Entry.GATEWAY,
        port=3002,
        keeps_prefix=False,
        ready_path="/",
        default_image="carta",
        modes=_BOTH,
        interactive=True,
        has_command=False,
        idle=IdleRule.TRAFFIC,
        open_page="/?folder={folder}&file={name}",
        application=Application(
            argv=(
                "carta_backend",
                "--no_browser",
                # What it says by itself, its address, has the secret in it.
                "--verbosity",
                "3",
                "--no_log",
                "--host",
                "127.0.0.1",
                "--port",
                "{port}",
                "--top_level_folder",
                "{arc}",
                "--omp_threads",
                "{threads}",
                "--enable_scripting",
                "{start}",
            ),
            # Its web server refuses longer headers than 4 kB; an origin may have many cookies.
            env=(("UWS_HTTP_MAX_HEADERS_SIZE", "32768"),),
            secret_env="CARTA_AUTH_TOKEN",  # noqa: S106 - the variable's name
            secret_header=("Authorization", "Bearer {secret}"),
            rewrites=("carta-config",),
            beats=("PING",),
        ),
    ),
    SessionKind.FIREFLY: KindSpec(
        title="Firefly",
        icon="firefly",
        entry=Entry.GATEWAY,
        port=8080,
        keeps_prefix=True,
        ready_path="/firefly/healthz",
        default_image="firefly",
        modes=(ResourceMode.FLEXIBLE,),
        interactive=True,
        has_command=False,
        idle=IdleRule.TRAFFIC,
        page="/firefly/",
        # The page's own interface by address, of the viewer of images: a file of its server.
        # https://github.com/Caltech-IPAC/firefly, src/firefly/js/api/webApiCommands/ImageCommands.js
        open_page="/firefly/?api=image&File={path}",
        open_endings=FITS,
        application=Application(
            env=(
                ("baseURL", "{prefix}"),
                # What may be opened from its own file dialogue and by ``file_on_server``.
                ("VISUALIZE_FITS_SEARCH_PATH", "{arc}"),
                # Of what the container may take; Java needs memory beside its heap.
                ("INIT_RAM_PERCENT", "10"),
                ("MAX_RAM_PERCENT", "75"),
                ("JVM_CORES", "{threads}"),
            )
        ),
    ),
    SessionKind.CONTRIBUTED: KindSpec(
        title="Contributed",
        icon="contributed",
        entry=Entry.GATEWAY,
        port=5000,
        keeps_prefix=False,
        ready_path="/",
        default_image="contributed",
        modes=_BOTH,
        interactive=True,
        has_command=False,
        idle=IdleRule.TRAFFIC,
    ),
    SessionKind.HEADLESS: KindSpec(
        title="Batch",
        icon="headless",
        entry=Entry.DIRECT,
        port=None,
        keeps_prefix=False,
        ready_path="",
        default_image="notebook",
        modes=_BOTH,
        interactive=False,
        has_command=True,
        idle=IdleRule.NEVER,
    ),
}
