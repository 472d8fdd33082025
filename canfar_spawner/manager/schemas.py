"""The shapes of what is sent and answered, as JSON schemas for the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from canfar_spawner.core.kinds import SessionKind
from canfar_spawner.core.request import FIELDS
from canfar_spawner.core.resources import ResourceMode
from canfar_spawner.manager.creating import PARAMETERS
from canfar_spawner.manager.wire import STATUSES, TYPES

Schema = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string"}
ANY: Final[Schema] = {"type": "object"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
NUMBER: Final[Schema] = {"type": "number", "exclusiveMinimum": 0}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
TYPE: Final[Schema] = {"type": "string", "enum": list(TYPES)}
STATUS: Final[Schema] = {"type": "string", "enum": list(STATUSES)}
NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 80}


def many(schema: Schema) -> Schema:
    """Describe a list."""
    return {"type": "array", "items": schema}


def shape(required: str = "", /, **properties: Schema) -> Schema:
    """Describe an object that may have more keys than these.

    Parameters
    ----------
    required : str
        The keys that are always there, with blanks between.
    """
    found: dict[str, Any] = {"type": "object", "properties": properties}
    return {**found, "required": required.split()} if required else found


ERROR: Final = shape(
    "status message code field allowed",
    status={"type": "integer"},
    message=TEXT,
    code=TEXT,
    field=TEXT,
    allowed=many(TEXT),
)

SESSION: Final = shape(
    "id userid name type status expiryTime connectURL",
    id=TEXT,
    userid=TEXT,
    runAsUID=TEXT,
    runAsGID=TEXT,
    supplementalGroups=many({"type": "integer"}),
    name=TEXT,
    image=TEXT,
    type=TYPE,
    status=STATUS,
    startTime=TIME,
    expiryTime=TIME,
    connectURL=TEXT,
    requestedRAM=TEXT,
    requestedCPUCores=TEXT,
    requestedGPUCores=TEXT,
    ramInUse=TEXT,
    cpuCoresInUse=TEXT,
    isFixedResources={"type": "boolean"},
    enforced={"type": "boolean"},
    state=STATUS,
    phase=TEXT,
    reason=TEXT,
    sentence=TEXT,
    advice=TEXT,
    detail=TEXT,
    mode=TEXT,
    projects=many(TEXT),
    exit_code={"type": "integer"},
    asked=TIME,
    ended=TIME,
    warning=TEXT,
    shares=COUNT,
    guests=many(TEXT),
    visitUntil=TIME,
    replicaOf=TEXT,
    replica={"type": "integer", "minimum": 1},
    cores_limit=TEXT,
    memory_limit_gb=COUNT,
)
USAGE: Final = shape("userid type status", userid=TEXT, type=TYPE, status=STATUS, startTime=TIME)
STATS: Final = shape(
    "cores ram",
    cores=shape(
        "requestedCPUCores cpuCoresAvailable maxCPUCores",
        requestedCPUCores={"type": "number"},
        cpuCoresAvailable={"type": "number"},
        maxCPUCores=shape("cpuCores withRam", cpuCores={"type": "number"}, withRam=TEXT),
    ),
    ram=shape(
        "requestedRAM ramAvailable maxRAM",
        requestedRAM=TEXT,
        ramAvailable=TEXT,
        maxRAM=shape("ram withCPUCores", ram=TEXT, withCPUCores={"type": "number"}),
    ),
    gpu=shape("requestedGPU gpuAvailable", requestedGPU=COUNT, gpuAvailable=COUNT),
    free=many(
        shape(
            "nodes cores memoryGb gpus",
            nodes=COUNT,
            cores={"type": "number"},
            memoryGb=COUNT,
            gpus=COUNT,
        )
    ),
)
_SIZES: Final = shape(
    "default defaultRequest defaultLimit options",
    default=COUNT,
    defaultRequest=COUNT,
    defaultLimit=COUNT,
    options=many(COUNT),
)
CONTEXT: Final = shape(
    "cores memoryGB gpus maxInteractiveSessions",
    cores=_SIZES,
    memoryGB=_SIZES,
    gpus=shape("options", options=many(COUNT)),
    maxInteractiveSessions=COUNT,
)
IMAGE: Final = shape(
    "id types digest",
    id=TEXT,
    types=many(TYPE),
    digest=TEXT,
    container=TEXT,
    title=TEXT,
    version=TEXT,
)

_WORDS: Final[Mapping[str, Schema]] = {
    "name": NAME,
    "image": {"type": "string", "minLength": 1, "maxLength": 456},
    "type": {"type": "string", "enum": [kind.value for kind in SessionKind]},
    "kind": {"type": "string", "enum": [kind.value for kind in SessionKind]},
    "cores": NUMBER,
    "ram": NUMBER,
    "memory": NUMBER,
    "gpus": COUNT,
    "cmd": {"type": "string", "minLength": 1},
    "args": TEXT,
    "env": many({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*=[^\\x00]*$"}),
    "mode": {"type": "string", "enum": [mode.value for mode in ResourceMode]},
    "projects": many(TEXT),
    "continues": many(TEXT),
}
CREATE_WORDS: Final = {word: _WORDS.get(word, TEXT) for word in PARAMETERS}
"""The parameters of a create in query string or form."""
CREATE_FORM: Final[Schema] = {
    "type": "object",
    "properties": CREATE_WORDS,
    "additionalProperties": False,
}
CREATE_JSON: Final[Schema] = {
    "type": "object",
    "properties": {
        **{word: _WORDS.get(word, TEXT) for word in dict.fromkeys([*PARAMETERS, *FIELDS])},
        "args": {"oneOf": [TEXT, many(TEXT)]},
        "env": {
            "oneOf": [{"type": "object", "additionalProperties": TEXT}, _WORDS["env"]],
        },
    },
    "additionalProperties": False,
}
RENAME: Final[Schema] = {
    "type": "object",
    "properties": {"name": NAME},
    "required": ["name"],
    "additionalProperties": False,
}

_BYTES: Final[Schema] = {"type": ["integer", "null"], "minimum": 0}
FILLING: Final = shape(
    "area name path kept used complete limit free full at known",
    area={"type": "string", "enum": ["home", "project"]},
    name=TEXT,
    path=TEXT,
    kept=TEXT,
    used=_BYTES,
    complete={"type": "boolean"},
    limit=_BYTES,
    free=_BYTES,
    full={"type": "boolean"},
    at={"type": ["string", "null"], "format": "date-time"},
    known={"type": "boolean"},
)
SCRATCH: Final = shape(
    "known files bytes complete sentence",
    known={"type": "boolean"},
    files=COUNT,
    bytes=COUNT,
    complete={"type": "boolean"},
    sentence=TEXT,
)

PAST: Final = shape("sessions cursor", sessions=many(SESSION), cursor=TEXT)
STORY: Final = shape(
    "id milestones shared audit",
    id=TEXT,
    milestones=many(ANY),
    shared=many(ANY),
    audit=many(ANY),
)

REFUSAL: Final = shape(
    "at name what sentence code",
    at=TIME,
    name=TEXT,
    what=TEXT,
    sentence=TEXT,
    code=TEXT,
    field=TEXT,
)
NOTICE: Final = shape(
    "session name ends before sentence",
    session=TEXT,
    name=TEXT,
    ends=TIME,
    before=COUNT,
    sentence=TEXT,
)
SHARE: Final = shape(
    "id how title until letsIn storage",
    id=TEXT,
    how=TEXT,
    title=TEXT,
    until=TIME,
    letsIn=many(TEXT),
    storage={"type": "boolean"},
)
ASK_SHARE: Final[Schema] = {
    "type": "object",
    "properties": {
        "user": TEXT,
        "group": TEXT,
        "link": {"type": "boolean"},
        "until": TIME,
        "people": {"type": "integer", "minimum": 1},
        "storage": {"type": "boolean"},
    },
    "additionalProperties": False,
}
VISITOR: Final = shape("name", name=TEXT)
LINE: Final = shape("at by deed text", at=TIME, by=TEXT, deed=TEXT, text=TEXT)
SHARING: Final = shape(
    "session name ends now open off means warning groups lengths mostPeople storage shares visitors",
    session=TEXT,
    name=TEXT,
    ends=TIME,
    now=TIME,
    open={"type": "boolean"},
    off=TEXT,
    means=TEXT,
    warning=TEXT,
    groups=many(TEXT),
    lengths=many(shape("words", hours={"type": ["integer", "null"]}, words=TEXT)),
    mostPeople=COUNT,
    storage={"type": "boolean"},
    shares=many(SHARE),
    visitors=many(VISITOR),
)
SHARED: Final = shape("owner session until url", owner=TEXT, session=TEXT, until=TIME, url=TEXT)
JOIN: Final[Schema] = {
    "type": "object",
    "properties": {"code": TEXT},
    "required": ["code"],
}
ANY_OBJECT: Final[Schema] = {"type": "object"}
