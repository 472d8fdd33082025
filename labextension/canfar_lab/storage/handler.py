"""What all routes to the owner's files share: who may call, how questions and errors are written."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ensure_async
from tornado.web import HTTPError

from canfar_lab.storage.areas import Areas
from canfar_lab.storage.errors import Refused, from_os_error, shown

if TYPE_CHECKING:
    from canfar_lab.storage.guests import Guests

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_IGNORED = frozenset({"_xsrf", "no_track_activity"})
"""Parameters that Jupyter's own pages add, and its server reads."""
_MOST_BODY = 1 << 20
Result = TypeVar("Result")

_SENTENCES = {
    400: ("invalid", "The request cannot be read."),
    403: (
        "not-allowed",
        "Sign in to this session, or give its token; pages also send X-XSRFToken.",
    ),
    404: ("not-found", "There is nothing at this address."),
    405: ("invalid", "This address does not take that method."),
}
"""What the server refuses before it is ours to say."""
_FAILED = ("failed", "Something went wrong in the session's server; its log has what.")


class StorageHandler(APIHandler):
    """A route to the owner's files: nobody else's business, unless her share opens them for reading."""

    auth_resource = "canfar"
    visitors_may: ClassVar[frozenset[str]] = frozenset()
    """The methods by which no more is done than to read, for visitors whose share opens storage."""

    async def prepare(self) -> None:  # type: ignore[override]  # as its own base class
        """Refuse whoever may not, before anything is read; no route can forget to."""
        await super().prepare()
        if not self.current_user:
            raise HTTPError(403)
        if not self.is_owner:
            await self._check_visitor()
        action = "read" if self.request.method in _READING else "write"
        allowed = self.authorizer.is_authorized(self, self.current_user, action, self.auth_resource)
        if not await ensure_async(allowed):
            raise HTTPError(403)

    async def _check_visitor(self) -> None:
        owner = os.environ.get("JUPYTERHUB_USER", "")
        guests: Guests | None = self.settings.get("canfar_guests")
        if guests is None or not await guests.may_read(self):
            raise Refused(
                "not-allowed",
                f"These files belong to {owner}, and are {owner}'s alone to list and change here.",
                403,
            )
        if self.request.method not in self.visitors_may:
            self.check_owner()

    def check_owner(self) -> None:
        """Refuse a visitor what is more than to read."""
        if not self.is_owner:
            owner = os.environ.get("JUPYTERHUB_USER", "")
            raise Refused("read-only", f"{owner} has opened these files to you to read only.", 403)

    @property
    def is_owner(self) -> bool:
        """Whether the caller is whose session this is; without a hub there is one person only."""
        owner = os.environ.get("JUPYTERHUB_USER", "")
        if not owner:
            return True
        model = getattr(self.current_user, "hub_user", None)
        if not isinstance(model, dict):
            return False
        return bool(model.get("kind") == "user" and model.get("name") == owner)

    @property
    def areas(self) -> Areas:
        """The session's areas."""
        found: Areas = self.settings["canfar_areas"]
        return found

    def question(self, *known: str) -> dict[str, str]:
        """Read the parameters of the address.

        Raises
        ------
        Refused
            Of one that there is not.
        """
        # Decoded by ourselves: the name of a file need not be UTF-8.
        found = {
            name: values[-1].decode("utf-8", "surrogateescape")
            for name, values in self.request.query_arguments.items()
            # JupyterLab writes the time after the address, so that no cache answers.
            if name not in _IGNORED and not name.isdecimal()
        }
        for name in found:
            if name not in known:
                raise Refused(
                    "invalid", f"There is no parameter {shown(name)}; known are {', '.join(known)}."
                )
        return found

    def body(self, **kinds: type | tuple[type, ...]) -> dict[str, Any]:
        """Read the JSON object of the request.

        Parameters
        ----------
        **kinds : type
            What it may have; all of it must be there, unless None is among its types.

        Raises
        ------
        Refused
        """
        raw = self.request.body
        if len(raw) > _MOST_BODY:
            raise Refused("invalid", "The request is too long: 1 MB is allowed.", 413)
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            raise Refused("invalid", "The request must be JSON.") from None
        if not isinstance(found, dict):
            raise Refused("invalid", f"The request must be an object with {', '.join(kinds)}.")
        for name in found:
            if name not in kinds:
                raise Refused(
                    "invalid", f"There is no field {shown(name)}; known are {', '.join(kinds)}."
                )
        for name, kind in kinds.items():
            value = found.setdefault(name, None)
            # In Python true is a number.
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
                raise Refused("invalid", f"The field {name} is missing, or not of its type.")
        return found

    async def in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do what waits for a file system, while the server goes on."""
        return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)

    def write_json(self, told: object, status: int = 200) -> None:
        """Answer; names that are no UTF-8 have lone surrogates, which only ASCII can tell."""
        self.set_status(status)
        self.set_header("Cache-Control", "private, no-cache")
        self.finish(json.dumps(told, separators=(",", ":")))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer what went wrong: a sentence, and nothing of how the server is made."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        if isinstance(error, OSError):
            error = from_os_error(error, "The file")
        if isinstance(error, Refused):
            self.set_status(error.status)
            self.finish(json.dumps({"code": error.code, "message": error.message, **error.more}))
            return
        code, message = _SENTENCES.get(status_code, _FAILED)
        self.finish(json.dumps({"code": code, "message": message}))

    def log_exception(self, kind: Any, value: BaseException | None, traceback: Any) -> None:
        """Keep what was refused out of the log: it is no fault, and holds names of files."""
        if not isinstance(value, (Refused, OSError, HTTPError)):
            super().log_exception(kind, value, traceback)
