"""A second reader of image references, written without regular expressions.

It follows the grammar of the distribution project (domain, path components, tag, digest), then
takes away what this platform does not accept: references without a registry, upper-case hosts,
IPv6 hosts, digests other than SHA-256, and references that name no project.
"""

from __future__ import annotations

import string
from typing import NamedTuple

_ALNUM = frozenset(string.ascii_lowercase + string.digits)
_HEX = frozenset("0123456789abcdef")
_TAG_FIRST = frozenset(string.ascii_letters + string.digits + "_")
_TAG_REST = _TAG_FIRST | frozenset(".-")


class Parts(NamedTuple):
    """A reference taken apart."""

    registry: str
    project: str
    repository: str
    tag: str | None = None
    digest: str | None = None


def _is_label(label: str) -> bool:
    inner = set(label) <= _ALNUM | {"-"}
    return bool(label) and inner and label[0] != "-" and label[-1] != "-"


def _is_registry(text: str) -> bool:
    host, *ports = text.split(":")
    if len(ports) > 1 or not all(map(_is_label, host.split("."))):
        return False
    for port in ports:
        if not port or len(port) > 5 or not set(port) <= set(string.digits):
            return False
        if int(port) not in range(1, 65536):
            return False
    return "." in host or bool(ports) or host == "localhost"


def _is_component(text: str) -> bool:
    separator = ""
    if not text or text[0] not in _ALNUM or text[-1] not in _ALNUM:
        return False
    for char in text:
        if char in _ALNUM:
            if separator not in ("", ".", "_", "__") and set(separator) != {"-"}:
                return False
            separator = ""
        elif char in "._-":
            separator += char
        else:
            return False
    return True


def _is_tag(text: str) -> bool:
    return 0 < len(text) <= 128 and text[0] in _TAG_FIRST and set(text) <= _TAG_REST


def read(text: str) -> Parts | None:
    """Take a reference apart, or give None."""
    digest = None
    cut = text.find("@")
    if cut >= 0:
        text, digest = text[:cut], text[cut + 1 :]
        if digest[:7] != "sha256:" or len(digest) != 71 or not set(digest[7:]) <= _HEX:
            return None
    tag = None
    colon = text.rfind(":")
    if colon > text.rfind("/"):
        text, tag = text[:colon], text[colon + 1 :]
        if not _is_tag(tag):
            return None
    registry, *components = text.split("/")
    if len(components) < 2 or not _is_registry(registry) or len(text) > 255:
        return None
    if not all(map(_is_component, components)):
        return None
    return Parts(registry, components[0], "/".join(components[1:]), tag, digest)
