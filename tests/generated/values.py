"""Values for each node of a structural schema: fitting ones, those at its limits, and those beyond them.

Invariant: a value depends on the random numbers it is given and on nothing else.
"""

import re
from random import Random
from typing import Any

from disagg_operator.api.v1alpha1 import patterns
from generated.hostile import HOSTILE, QUANTITIES, TEXTS
from generated.opaque import OPAQUE

Schema = dict[str, Any]

WORDS = {
    patterns.DNS_LABEL: ["a", "a-b", "0", "x1"],
    patterns.RESOURCE_NAME: ["a", "a-b", "x1"],
    patterns.OBJECT_NAME: ["a", "a.b", "0-1", "generic", "local"],
    patterns.SECRET_KEY: ["token", ".", "_A-b.c"],
    patterns.VARIABLE: ["A", "_a", "a.b-c", "NCCL_DEBUG", "UCX_TLS", "HF_TOKEN", "POD_IP", "DYN_NAMESPACE"],
    patterns.QUANTITY: ["1", "500m", "2Gi", "1e3", ".5", "0"],
    patterns.SHARE: ["0", "1", "25%", "0%", "100%", "999%", "9999"],
    patterns.NO_SPACE: ["a", "1.6.1", "registry/a:1", "é", "{{ x }}", "$(A)", "'\"`;|&"],
    patterns.QUALIFIED_NAME: ["pool", "example.com/pool"],
    patterns.ABSOLUTE_PATH: ["/", "/a", "/a/../b", "//", "/é"],
    patterns.HUB_REPOSITORY: ["a", "a/b", "..", "-/."],
    patterns.HTTP_URL: ["http://a", "https://a:1/b?c", "http://[::1]"],
    patterns.NATS_URL: ["nats://a", "tls://a:4222"],
    patterns.REASON: ["A"],
    patterns.LABEL_VALUE: ["", "a", "A_b.c"],
}
"""Texts that match each pattern."""

KEYS = [
    "a",
    "cpu",
    "memory",
    "ephemeral-storage",
    "hugepages-2Mi",
    "example.com/nic",
    "vpc.amazonaws.com/efa",
]
KEYS += ["nvidia.com/gpu", "UCX", "GDS", "kubernetes.io/arch", "topology.kubernetes.io/zone"]
"""Keys of maps with keys of the user's choice."""


def fitting(dice: Random, node: Schema, name: str = "") -> Any:
    """Return a value that fits the schema, with the fields that it needs and a few more."""
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return dice.choice(OPAQUE.get(name, OPAQUE[""]))
    if node.get("x-kubernetes-int-or-string"):
        return dice.choice([1, 0, *WORDS[node["pattern"]]])
    match node["type"]:
        case "object" if "additionalProperties" in node:
            keys = dice.sample(KEYS, dice.randint(0, 2))
            return {key: fitting(dice, node["additionalProperties"], key) for key in keys}
        case "object":
            return _object(dice, node)
        case "array":
            return [fitting(dice, node["items"], name) for _ in range(dice.randint(0, 2))]
        case "integer":
            low, high = node.get("minimum", 0), node.get("maximum", 100)
            return dice.choice([low, min(low + 1, high), dice.randint(low, min(high, low + 8))])
        case "number":
            return dice.choice([node.get("maximum", 2), 0.5, 1])
        case "boolean":
            return dice.choice([True, False])
        case _:
            return _text(dice, node)


def _object(dice: Random, node: Schema) -> dict[str, Any]:
    properties = node["properties"]
    more = dice.sample(sorted(properties), min(len(properties), dice.choice([0, 0, 1, 2])))
    chosen = dict.fromkeys([*node.get("required", []), *more])
    return {name: fitting(dice, properties[name], name) for name in chosen}


def _text(dice: Random, node: Schema) -> str:
    if "enum" in node:
        word: str = dice.choice(node["enum"])
        return word
    if "pattern" in node:
        return dice.choice(WORDS[node["pattern"]])
    return dice.choice(["a", "a/b", "a-b", "zone"])


def at_limit(dice: Random, node: Schema, name: str = "") -> Any:
    """Return a value at a limit of the schema, on one side or the other."""
    if node.get("x-kubernetes-int-or-string"):
        return dice.choice(QUANTITIES)
    match node.get("type"):
        case "integer" | "number":
            bounds = [node[key] for key in ("minimum", "maximum") if key in node]
            return dice.choice(bounds or [0]) + dice.choice([-1, 0, 1])
        case "array":
            return _entries(dice, node, node.get("maxItems", 8) + dice.choice([-1, 0, 1]), name)
        case "object" if "additionalProperties" in node:
            size = node.get("maxProperties", 8) + dice.choice([0, 1])
            value = node["additionalProperties"]
            return {f"example.com/k{number}": fitting(dice, value) for number in range(size)}
        case "string" if "enum" not in node:
            return _long(dice, node, node.get("maxLength", 253) + dice.choice([-1, 0, 1]))
    return fitting(dice, node, name)


def _entries(dice: Random, node: Schema, size: int, name: str) -> list[Any]:
    items = node["items"]
    found = [fitting(dice, items, name) for _ in range(size)]
    for number, each in enumerate(found):
        if isinstance(each, dict) and "name" in each:
            each["name"] = f"a{number}"
    if items.get("type") == "string" and dice.random() < 0.8:
        return [f"{each}{number}" for number, each in enumerate(found)]
    return found


def _long(dice: Random, node: Schema, length: int) -> str:
    pattern = node.get("pattern")
    beginnings = [""] if pattern is None else WORDS[pattern]
    text = dice.choice(beginnings) + "a" * length
    text = text[:length]
    return text if pattern is None or re.search(pattern, text) else "a" * length


def violating(dice: Random, node: Schema, name: str = "") -> Any:
    """Return a value that the schema forbids, mostly: of a wrong type, beyond a limit, or hostile."""
    wrong: list[Any] = [
        None,
        True,
        0,
        -1,
        1.5,
        2.0,
        10**6,
        2**31,
        2**63,
        10**25,
        -(2**63),
        "",
        "x",
        "5",
        [],
        ["x"],
        {},
    ]
    wrong += [{"x": 1}, [None], [[]], {"name": "a"}, "true", "null", "~", "1e3", " 1", "0x10"]
    sort = dice.random()
    if sort < 0.5:
        return dice.choice(wrong)
    if sort < 0.7:
        return at_limit(dice, node, name)
    return dice.choice(HOSTILE) if sort < 0.9 else dice.choice(TEXTS)
