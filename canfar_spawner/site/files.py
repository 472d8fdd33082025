"""Reading a site's YAML files: every mistake with its path and the nearest valid word."""

from __future__ import annotations

import difflib
import logging
import typing
from collections.abc import Hashable
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from typing_extensions import override

from canfar_spawner.core.errors import listing
from canfar_spawner.core.frozen import Frozen

Value = TypeVar("Value", bound=BaseModel)


class Problem(Frozen):
    """One mistake in a file."""

    path: str
    """Where: ``catalogue.containers[2].kinds``; empty for the file as a whole."""
    message: str

    @override
    def __str__(self) -> str:
        """Write it for a terminal or a log."""
        return f"{self.path}: {self.message}" if self.path else self.message


class SiteFileError(Exception):
    """A file that cannot be used, with all its mistakes."""

    def __init__(self, path: Path, problems: tuple[Problem, ...]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))


class SettingError(Exception):
    """A variable of the environment that cannot be used; says which and why."""


class _OneMeaningLoader(yaml.SafeLoader):
    """YAML without keys that are given twice: PyYAML would silently take the last."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping, refusing a repeated key."""
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a word", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def _enums(annotation: object) -> list[type[Enum]]:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [annotation]
    return [words for part in typing.get_args(annotation) for words in _enums(part)]


def _annotation(model: type[BaseModel], location: tuple[int | str, ...]) -> object:
    """Find what the schema says about a place; positions and mapping keys are passed over."""
    annotation: object = model
    for step in location:
        for candidate in _models(annotation):
            if step in candidate.model_fields:
                annotation = candidate.model_fields[str(step)].annotation
                break
    return annotation


def _near(word: object, words: list[str]) -> str:
    close = difflib.get_close_matches(str(word), words, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {listing(sorted(words))}"


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step != "[key]":
            path += f".{step}" if path else step
    return path


def _problem(model: type[BaseModel], error: Any) -> Problem:
    location: tuple[int | str, ...] = error["loc"]
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        fields = [
            name
            for candidate in _models(_annotation(model, location[:-1]))
            for name in candidate.model_fields
        ]
        message = f"there is no such key{_near(location[-1], fields)}"
    elif error["type"] == "enum":
        words = [
            str(member.value) for enum in _enums(_annotation(model, location)) for member in enum
        ]
        message = (
            f"{error['input']} is not one of the words allowed here{_near(error['input'], words)}"
        )
    elif error["type"] == "missing":
        message = "this key is required"
    return Problem(path=_path(location), message=message)


def load(path: Path, model: type[Value]) -> Value:
    """Read a file.

    Parameters
    ----------
    path : Path
        A YAML file.
    model : type
        What it holds.

    Raises
    ------
    SiteFileError
        It cannot be read, is not YAML, or does not fit `model`; names every mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_OneMeaningLoader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise SiteFileError(path, (Problem(path="", message=f"cannot be read: {error}"),)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "is not YAML"
        raise SiteFileError(path, (Problem(path=where, message=str(what)),)) from None
    except (ValueError, AttributeError, RecursionError) as error:
        # What PyYAML lets through: a date of no calendar, brackets without end.
        raise SiteFileError(path, (Problem(path="", message=f"is not YAML: {error}"),)) from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        details = error.errors(include_url=False)
        # A list whose only entry is wrong is not too short as well.
        spoilt = {detail["loc"][:-1] for detail in details if detail["loc"]}
        problems = tuple(
            _problem(model, detail)
            for detail in details
            if not (detail["type"] == "too_short" and detail["loc"] in spoilt)
        )
        raise SiteFileError(path, problems) from None


class WatchedFile(Generic[Value]):
    """A file that is read again when it changes; a broken one keeps the old value.

    Parameters
    ----------
    path : Path
    model : type
        What it holds.
    log : logging.Logger

    Raises
    ------
    SiteFileError
        The file is broken at the start.
    """

    def __init__(self, path: Path, model: type[Value], log: logging.Logger) -> None:
        self.path = path
        self._model = model
        self._log = log
        self._stamp = self._seen()
        self._value = load(path, model)

    def _seen(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    @property
    def value(self) -> Value:
        """What the file holds now, or held when it was last right."""
        stamp = self._seen()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._value = load(self.path, self._model)
            except SiteFileError as error:
                self._log.error("Keeping what was read before. %s", error)
            else:
                self._log.info("%s was read again", self.path)
        return self._value
