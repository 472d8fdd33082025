"""What keeps a file from being listed, read or changed, in a sentence for its owner."""

from __future__ import annotations

import errno

_LONGEST = 80


class Refused(Exception):
    """Something that is not done.

    Parameters
    ----------
    code : str
        A stable word for programs.
    message : str
        What was wrong, what is allowed, what to do.
    status : int
        Of HTTP.
    **more
        What a page needs besides, to ask about it.
    """

    def __init__(self, code: str, message: str, status: int = 400, **more: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.more = more


def shown(name: object) -> str:
    """Give a name in a form that fits a sentence, whatever it holds."""
    text = str(name)
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


_SENTENCES = {
    errno.ENOENT: ("not-found", 404, "{0} is not there any more."),
    errno.EEXIST: ("exists", 409, "{0} exists already; choose another name."),
    errno.ENOTEMPTY: ("exists", 409, "{0} exists already, and there is something in it."),
    errno.ENOTDIR: ("not-a-folder", 409, "{0} is not a folder."),
    errno.EISDIR: ("not-a-file", 409, "{0} is a folder, not a file."),
    errno.ELOOP: ("changed", 409, "{0} was replaced by a link meanwhile; look at the folder anew."),
    errno.EXDEV: ("failed", 409, "{0} lies on another file system; copy it, then delete it here."),
    errno.EACCES: ("not-allowed", 403, "Your account may not do that with {0}."),
    errno.EPERM: ("not-allowed", 403, "Your account may not do that with {0}."),
    errno.EROFS: ("read-only", 403, "{0} cannot be changed: it lies where files are only read."),
    errno.ENOSPC: ("full", 507, "There is no room left for {0}; delete something first."),
    errno.EDQUOT: ("quota", 507, "The quota is used up, {0} does not fit; delete something first."),
    errno.ENAMETOOLONG: ("too-long", 400, "The name {0} is too long: 255 bytes are allowed."),
    errno.EBUSY: ("busy", 409, "{0} is in use, and cannot be changed now."),
    errno.ETIMEDOUT: ("away", 504, "The file system of {0} does not answer; try again later."),
    errno.ESTALE: ("changed", 409, "{0} was replaced on the file server; look at the folder anew."),
    errno.EIO: ("failed", 500, "The file system could not read or write {0}; try again later."),
}


def from_os_error(error: OSError, what: object) -> Refused:
    """Say what the file system did not do, of whom its owner sees only a name.

    Parameters
    ----------
    error : OSError
    what : object
        The name to show.
    """
    code, status, sentence = _SENTENCES.get(
        error.errno or 0,
        ("failed", 500, "The file system did not do that with {0}; try again later."),
    )
    return Refused(code, sentence.format(shown(what)), status)
