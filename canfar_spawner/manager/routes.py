"""The table of all routes of the REST interface: served, documented and tested from here."""

from __future__ import annotations

import re
from typing import Any, Final

from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.manager import (
    schemas,
    v1,
    v1_history,
    v1_sessions,
    v1_sharing,
    v1_storage,
    v1_told,
)
from canfar_spawner.manager.history import MOST
from canfar_spawner.manager.route import FORM, JSON, XML, Access, Parameter, Reply, Route

_EMPTY: Final = Reply("Done.", schema={"type": "string", "maxLength": 0})
_GONE: Final = Reply("It is taken away.", empty=True)
_LATER: Final = Reply("It is done as soon as the hub answers.")
_SEARCH: Final = (
    Parameter("type", "Only sessions of this kind.", schemas.TYPE),
    Parameter("status", "Only sessions of this status; Succeeded is Completed.", schemas.STATUS),
    Parameter(
        "view",
        "all: what everybody has, in outline. interactive: no batch jobs. stats: the load.",
        {"type": "string", "enum": list(v1_sessions.VIEWS)},
    ),
)
_WORDS: Final = {
    "name": "What it is called.",
    "image": "registry/project/name:tag; a name of another platform may stand for a container.",
    "type": "The kind; without it, a batch job.",
    "cores": "With ram: fixed. Alone: only the cores are.",
    "ram": "GB of 2³⁰ bytes.",
    "gpus": "How many GPUs.",
    "cmd": "The program of a batch job; without it, the image's own.",
    "args": "One text, taken apart at blanks; where it has quotes, as a shell does.",
    "env": "NAME=value, divided at the first =; may be given many times.",
}
_CREATE: Final = (
    *(
        Parameter(word, description, schemas.CREATE_WORDS[word])
        for word, description in _WORDS.items()
    ),
    Parameter(
        "Idempotency-Key",
        "Asking again with the same one within a day gives the same session.",
        {"type": "string", "pattern": "^[ -~]{1,255}$"},
        where="header",
    ),
    Parameter(
        "X-Skaha-Registry-Auth",
        "base64 of user:secret, for a private image.",
        where="header",
    ),
)
_STOPS: Final = (409, 424)


def _json(description: str, schema: schemas.Schema) -> Reply:
    return Reply(description, JSON, schema)


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        "HEAD",
        "",
        "ping",
        "Say that there is something here.",
        v1.Ping,
        access=Access.ANYBODY,
        answers={200: Reply("There is.", empty=True)},
        aliases=("v1", "v1/"),
    ),
    Route(
        "GET",
        "capabilities",
        "capabilities",
        "Where what is, and how one signs in (VOSI).",
        v1.Capabilities,
        access=Access.ANYBODY,
        answers={200: Reply("The capabilities.", XML)},
        aliases=("v1/capabilities",),
    ),
    Route(
        "GET",
        "availability",
        "availability",
        "Whether everything works (VOSI).",
        v1.Availability,
        access=Access.ANYBODY,
        answers={200: Reply("The availability.", XML)},
        aliases=("v1/availability",),
    ),
    Route(
        "GET",
        "v1/openapi.json",
        "document",
        "This document.",
        v1.Document,
        access=Access.ANYBODY,
        answers={200: _json("The document.", schemas.ANY_OBJECT)},
    ),
    Route(
        "GET",
        "v1/session",
        "listSessions",
        "List sessions: those that live and those that ended within a day.",
        v1_sessions.Sessions,
        parameters=_SEARCH,
        answers={
            200: _json(
                "The sessions; with view=stats, the load.",
                {
                    "anyOf": [
                        schemas.many(schemas.SESSION),
                        schemas.many({**schemas.USAGE, "maxProperties": 4}),
                        schemas.STATS,
                    ]
                },
            )
        },
    ),
    Route(
        "POST",
        "v1/session",
        "createSession",
        "Create a session or a batch job; what is given may be in the query string or the body.",
        v1_sessions.Sessions,
        parameters=_CREATE,
        body={FORM: schemas.CREATE_FORM, JSON: schemas.CREATE_JSON},
        answers={200: Reply("The id and a line's end.", schema={"type": "string"})},
        refuses=(409, 424),
    ),
    Route(
        "DELETE",
        "v1/session",
        "endNothing",
        "Refuse: a session is ended by its id.",
        v1_sessions.Sessions,
        refuses=(400,),
    ),
    Route(
        "GET",
        "v1/session/{id}",
        "showSession",
        "Show a session, its log or what happened to it.",
        v1_sessions.Session,
        parameters=(
            Parameter(
                "view",
                "logs: what it wrote. events: what happened to it.",
                {"type": "string", "enum": list(v1_sessions.ONE_VIEWS)},
            ),
            Parameter(
                "tail",
                "With logs: so many lines at most, the last ones.",
                {"type": "integer", "minimum": 1, "maximum": v1_sessions.MOST_LINES},
            ),
        ),
        answers={
            200: Reply("The session; with a view, a text.", JSON, schemas.SESSION, or_text=True)
        },
    ),
    Route(
        "POST",
        "v1/session/{id}",
        "renewSession",
        "Extend a session as far as the site allows; twice is once.",
        v1_sessions.Session,
        parameters=(
            Parameter("action", "renew", {"type": "string", "enum": list(v1_sessions.ACTIONS)}),
        ),
        answers={200: _EMPTY},
    ),
    Route(
        "PATCH",
        "v1/session/{id}",
        "renameSession",
        "Give a session another name.",
        v1_sessions.Session,
        body={JSON: schemas.RENAME},
        answers={200: _json("The session.", schemas.SESSION)},
    ),
    Route(
        "DELETE",
        "v1/session/{id}",
        "endSession",
        "End a session; one that is not there, or somebody else's, is left as it is.",
        v1_sessions.Session,
        answers={200: _EMPTY},
        refuses=_STOPS,
    ),
    Route(
        "GET",
        "v1/session/{id}/app",
        "listApps",
        "List the programs of a desktop that run apart: none.",
        v1_sessions.Apps,
        answers={200: _json("None.", {"type": "array", "maxItems": 0})},
    ),
    Route(
        "POST",
        "v1/session/{id}/app",
        "startApp",
        "Refuse: they are started in the desktop.",
        v1_sessions.Apps,
    ),
    Route(
        "GET",
        "v1/session/{id}/app/{app}",
        "showApp",
        "Find no program.",
        v1_sessions.App,
    ),
    Route(
        "DELETE",
        "v1/session/{id}/app/{app}",
        "endApp",
        "End no program.",
        v1_sessions.App,
        answers={200: _EMPTY},
    ),
    Route(
        "GET",
        "v1/session/{id}/scratch",
        "scratch",
        "Tell what a session keeps in scratch, which its end wipes.",
        v1_storage.ScratchOf,
        answers={200: _json("Files and bytes, as far as known.", schemas.SCRATCH)},
    ),
    Route(
        "GET",
        "v1/storage",
        "storage",
        "Tell how full one's home and projects are.",
        v1_storage.Storage,
        answers={200: _json("The home first.", schemas.many(schemas.FILLING))},
    ),
    Route(
        "GET",
        "v1/context",
        "context",
        "What may be asked for.",
        v1.Context,
        answers={200: _json("Sizes and limits.", schemas.CONTEXT)},
    ),
    Route(
        "GET",
        "v1/image",
        "listImages",
        "List the images of the containers that can run here.",
        v1.Images,
        parameters=(Parameter("type", "Only those that run as this.", schemas.TYPE),),
        answers={200: _json("The images.", schemas.many(schemas.IMAGE))},
    ),
    Route(
        "GET",
        "v1/repository",
        "listRegistries",
        "List the registries that images come from.",
        v1.Repository,
        answers={200: _json("Their host names.", schemas.many(schemas.TEXT))},
    ),
    Route(
        "GET",
        "v1/history",
        "listHistory",
        "List one's sessions of the past, a page at a time.",
        v1_history.History,
        parameters=(
            Parameter("since", "Only those that lived after this.", schemas.TIME),
            Parameter("until", "Only those that were asked for before this.", schemas.TIME),
            Parameter(
                "type",
                "Only those of this kind.",
                {"type": "string", "enum": [kind.value for kind in SessionKind]},
            ),
            Parameter("cursor", "Where to go on, as an earlier answer said."),
            Parameter(
                "most",
                "So many at most.",
                {"type": "integer", "minimum": 1, "maximum": MOST, "default": v1_history.DEFAULT},
            ),
        ),
        answers={200: _json("The newest first, and where the next page begins.", schemas.PAST)},
    ),
    Route(
        "GET",
        "v1/history/{id}",
        "showHistory",
        "Tell everything that is kept of a session, however long ago it ended.",
        v1_history.Story,
        answers={200: _json("The session and what happened to it.", schemas.STORY)},
    ),
    Route(
        "GET",
        "v1/refusals",
        "listRefusals",
        "List one's creates of the last day that came to nothing.",
        v1_told.Refused,
        answers={200: _json("The newest first.", schemas.many(schemas.REFUSAL))},
    ),
    Route(
        "GET",
        "v1/notices",
        "listNotices",
        "List the warnings that one's sessions end soon.",
        v1_told.Notices,
        answers={200: _json("Those that count now.", schemas.many(schemas.NOTICE))},
    ),
    Route(
        "GET",
        "v1/session/{id}/sharing",
        "sharing",
        "Tell all of a session's sharing at once, and how it can be shared.",
        v1_sharing.Overview,
        answers={200: _json("What a page or a panel shows of it.", schemas.SHARING)},
    ),
    Route(
        "GET",
        "v1/session/{id}/shares",
        "listShares",
        "List how others may enter a session.",
        v1_sharing.Shares,
        answers={200: _json("The newest first.", schemas.many(schemas.SHARE))},
    ),
    Route(
        "POST",
        "v1/session/{id}/shares",
        "share",
        "Share a session: with a person, a group or by a link.",
        v1_sharing.Shares,
        body={JSON: schemas.ASK_SHARE},
        answers={201: _json("The share; of a link, its address, this once.", schemas.SHARE)},
        refuses=(409,),
    ),
    Route(
        "DELETE",
        "v1/session/{id}/shares",
        "revokeAll",
        "Take every share away, or what one person has.",
        v1_sharing.Shares,
        parameters=(Parameter("user", "Only what this person has."),),
        answers={204: _GONE, 202: _LATER},
    ),
    Route(
        "DELETE",
        "v1/session/{id}/shares/{share}",
        "revoke",
        "Take one share away.",
        v1_sharing.OneShare,
        answers={204: _GONE, 202: _LATER},
    ),
    Route(
        "GET",
        "v1/session/{id}/visitors",
        "listVisitors",
        "List who may enter a session and who is in it.",
        v1_sharing.Visitors,
        answers={200: _json("By name.", schemas.many(schemas.VISITOR))},
    ),
    Route(
        "GET",
        "v1/session/{id}/audit",
        "audit",
        "List what happened to a session's sharing.",
        v1_sharing.Audit,
        answers={200: _json("The oldest first.", schemas.many(schemas.LINE))},
    ),
    Route(
        "GET",
        "v1/shared",
        "listShared",
        "List the sessions of others that one may enter.",
        v1_sharing.SharedWithMe,
        answers={200: _json("The sessions.", schemas.many(schemas.SHARED))},
    ),
    Route(
        "DELETE",
        "v1/shared/{owner}/{id}",
        "leave",
        "Give up one's access to a session of somebody else's.",
        v1_sharing.SharedOne,
        answers={204: _GONE, 202: _LATER},
    ),
    Route(
        "POST",
        "v1/links",
        "join",
        "Take up a link to a session; its code is in the body.",
        v1_sharing.Links,
        body={JSON: schemas.JOIN},
        answers={200: _json("What it opens.", schemas.SHARED)},
        refuses=(409,),
    ),
    Route(
        "POST",
        "v1/heartbeat",
        "heartbeat",
        "For sessions: tell of itself, with its own token.",
        v1_told.Heartbeats,
        body={JSON: schemas.ANY_OBJECT},
        answers={204: Reply("Taken.", empty=True)},
    ),
    Route(
        "POST",
        "v1/events",
        "tell",
        "For the hub: tell what happened, and hear what it does not know yet.",
        v1_told.Events,
        access=Access.HUB,
        body={JSON: schemas.ANY_OBJECT},
        answers={200: _json("What is new.", schemas.ANY_OBJECT)},
    ),
    Route(
        "GET",
        "v1/reconcile",
        "differences",
        "For administrators: what records, hub and back end do not agree on.",
        v1_told.Differences,
        access=Access.OPERATOR,
        answers={200: _json("The differences.", schemas.ANY_OBJECT)},
    ),
    Route(
        "GET",
        "metrics",
        "metrics",
        "For Prometheus: what is counted.",
        v1_history.Metrics,
        access=Access.MEASURER,
        answers={200: Reply("The metrics.")},
    ),
)


def _pattern(path: str) -> str:
    return "/".join(
        r"([^/]+)" if part.startswith("{") else re.escape(part) for part in path.split("/")
    )


def v1_routes() -> list[tuple[str, type[Any], dict[str, Any]]]:
    """Give every path below the service's prefix with its handler, as tornado wants it.

    The root is the pages' own.
    """
    paths: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        for path in (route.path, *route.aliases):
            if path:
                paths.setdefault(path, {})[route.method] = route
    found = []
    for path, methods in paths.items():
        (handler,) = {route.handler for route in methods.values()}
        settings: dict[str, Any] = {"routes": methods}
        if handler is v1.Document:
            settings["table"] = ROUTES
        found.append((_pattern(path), handler, settings))
    return found
