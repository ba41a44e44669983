"""The shape of /evidence that the operator relies on, as JSON schema."""

from typing import Any

COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
TEXT: dict[str, Any] = {"type": "string"}
MAYBE: dict[str, Any] = {"type": ["integer", "null"]}


def record(**properties: Any) -> dict[str, Any]:
    """An object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def several(**properties: Any) -> dict[str, Any]:
    """A list of such objects."""
    return {"type": "array", "items": record(**properties)}


EVIDENCE = record(
    version={"const": 1},
    time={"type": "number"},
    uptimeSeconds={"type": "number"},
    pod=TEXT,
    namespace=TEXT,
    node=TEXT,
    devices=several(
        name=TEXT,
        kind={"enum": ["efa", "mlx5", "other"]},
        port=COUNT,
        state=TEXT,
        linkLayer=TEXT,
        given={"type": ["boolean", "null"]},
        counters={"type": "object", "additionalProperties": COUNT},
    ),
    interfaces=several(name=TEXT, rxBytes=COUNT, txBytes=COUNT),
    processes=several(
        pid=COUNT,
        name=TEXT,
        libraries=several(
            kind={"enum": ["nixl", "nixl-plugin", "ucx", "ucx-transport", "libfabric", "efa", "cuda", "mpi"]},
            path={"type": "string", "pattern": "^/"},
        ),
    ),
    unreadable=several(what=TEXT, why=TEXT),
    nvlink=record(
        available={"type": "boolean"},
        reason=TEXT,
        links=several(gpu=COUNT, link=COUNT, rxBytes=COUNT, txBytes=COUNT),
    ),
    nixl=record(available={"type": "boolean"}, reason=TEXT, rxBytes=COUNT, txBytes=COUNT, source=TEXT),
    engine={
        "anyOf": [
            {"type": "null"},
            record(kvRead=several(backend=TEXT, transport=TEXT, bytes=COUNT), kvServedBytes=COUNT),
        ]
    },
    logs=several(path=TEXT, lines={"type": "array", "items": TEXT, "maxItems": 40}),
    model={
        "anyOf": [
            {"type": "null"},
            record(
                layers=MAYBE,
                kvHeads=MAYBE,
                headDim=MAYBE,
                kvLoraRank=MAYBE,
                ropeHeadDim=MAYBE,
                dtype={"type": ["string", "null"]},
                path=TEXT,
            ),
        ]
    },
    deviceFiles={"type": "array", "items": TEXT},
)
