"""No text of a resource becomes anything but the text that it is.

Each field of the definition that holds text, found by walking its schema, is given hostile values in a
deployment that has it. Either the value is refused and the field is named, or all objects are those of a
harmless value with the one text in place of the other: after Kubernetes has put variables into commands, and
after YAML and JSON inside of them have been parsed. A field that no deployment below has fails the test.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from disagg_operator.api.crd.definition import definition
from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.build.objects import shared_objects, worker_objects
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.planner import plan

Object = dict[str, Any]
Place = tuple[str | int, ...]

MARK = "zq"
"""Follows every value, so that what becomes of it can be found."""
HOSTILE = (
    "'\"`",
    "$(touch pwned)",
    "$(POD_IP)",
    "$$(POD_IP)",
    "${IFS}x",
    "`id`",
    "; id #",
    "&& id | sh",
    "a\nb: c",
    "\r\n- x",
    "a\0b",
    "!!python/object/apply:os.system [id]",
    "*alias &anchor",
    "{{ 7 * 7 }}{% raw %}",
    "%s%n%x",
    "\u2028\u2029\x85",
    "\x1b[31m\x07",
    "\u202eabc",
    "# comment",
    "key: value",
    ", http://other:1",
    "\\",
    "../../etc/passwd",
)
LEADING = ("-x", "--help", "-oProxyCommand=id", "=x", "@file", "~", "!x")

NAMED = {"resources": {"requests": {"cpu": "1"}, "limits": {"memory": "9Gi"}}}
ENV = [
    {"name": "SOME", "value": "text"},
    {"name": "OTHER", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
]
HUB = {"repository": "org/m", "revision": "main", "endpoint": "http://hub"}
DEPLOYMENTS: dict[str, Object] = {
    "reference": {
        "model": {"name": "m", "source": {"persistentVolumeClaim": {"claimName": "models", "path": "a/b"}}},
        "runtime": {"engine": "reference", "image": "own:1", "imagePullSecrets": [{"name": "pull"}]},
        "serviceAccountName": "pods",
        "network": {
            "clients": [{"podSelector": {"matchLabels": {"a/b": "c"}}}],
            "metricsFrom": [{"podSelector": {"matchLabels": {"a/b": "c"}}}],
        },
        "env": ENV,
        "prefill": {"env": ENV, **NAMED, "podTemplate": {"metadata": {"annotations": {"a/b": "c"}}}},
        "decode": {"env": ENV, **NAMED, "podTemplate": {"metadata": {"annotations": {"a/b": "c"}}}},
        "frontend": {"env": ENV, **NAMED, "podTemplate": {"metadata": {"annotations": {"a/b": "c"}}}},
        "placement": {
            "topologyKey": "example.com/zone",
            "nodeSelector": {"example.com/pool": "a"},
            "tolerations": [{"key": "k", "operator": "Equal", "value": "v"}],
        },
        "platformProfile": {"environment": [{"name": "FROM_PROFILE", "value": "text"}]},
        "rollout": {
            "prefill": {"maxSurge": "25%", "maxUnavailable": "25%"},
            "decode": {"maxSurge": "25%", "maxUnavailable": "25%"},
        },
    },
    "trtllm": {
        "model": {
            "name": "m",
            "source": {
                "huggingFace": {
                    **HUB,
                    "tokenSecretRef": {"name": "hf", "key": "token"},
                    "cache": {"persistentVolumeClaim": {"claimName": "models", "path": "a"}},
                    "files": ["*.json"],
                }
            },
        },
        "platform": "infiniband",
        "runtime": {"engine": "trtllm", "version": "1.6.1"},
        "discovery": {
            "backend": "etcd",
            "etcd": {"endpoints": ["http://etcd:2379"]},
            "nats": {"server": "nats://nats:4222"},
        },
        "prefill": {"parallelism": {"tensor": 8}, "devices": {"rdma/ib": 1}},
        "decode": {
            "nodesPerReplica": 2,
            "parallelism": {"tensor": 16},
            "devices": {"rdma/ib": 1},
            "engineConfig": {"tokenizer": "text"},
            "env": [{"name": "LD_LIBRARY_PATH", "value": "/opt"}],
        },
        "placement": {
            "group": {"topologyKey": "example.com/rack"},
            "gang": {"scheduler": "Kueue", "queue": "q"},
        },
    },
    "hub": {
        "model": {
            "name": "m",
            "source": {"huggingFace": {**HUB, "cache": {"node": {"path": "/var/models"}}}},
        },
        "runtime": {"engine": "trtllm", "version": "1.6.1"},
        "discovery": {
            "backend": "etcd",
            "etcd": {"image": "etcd:1", "storage": {"size": "1Gi", "storageClassName": "fast"}},
            "nats": {"image": "nats:1"},
        },
        "transfer": {"kvbm": {"nixlBackends": {"UCX": True}, "cpuCacheGb": 1}},
        "prefill": {"parallelism": {"tensor": 1}},
    },
    "nats": {
        "model": {"name": "m", "source": {"huggingFace": HUB}},
        "runtime": {"engine": "trtllm", "version": "0.4.1", "image": "own:1"},
        "discovery": {"nats": {"storage": {"size": "1Gi", "storageClassName": "fast"}}},
        "prefill": {"parallelism": {"tensor": 1}},
    },
    "gang": {
        "model": {"name": "m", "source": {"huggingFace": HUB}},
        "platform": "infiniband",
        "runtime": {"engine": "trtllm", "version": "1.6.1"},
        "prefill": {"nodesPerReplica": 2, "parallelism": {"tensor": 16}},
        "decode": {"parallelism": {"tensor": 8}},
        "placement": {"gang": {"scheduler": "Coscheduling", "schedulerName": "scheduler"}},
    },
    "vllm": {
        "model": {"name": "m", "source": {"image": {"reference": "r:1", "path": "a"}}},
        "runtime": {"engine": "vllm", "version": "1.6.1"},
        "prefill": {"parallelism": {"tensor": 1}, "engineConfig": {"custom-jinja-template": "text"}},
        "decode": {"parallelism": {"tensor": 1}, "engineConfig": {"custom-jinja-template": "text"}},
        "security": {"allowUnsafe": ["env-efa-shared-memory"]},
    },
    "sglang": {
        "model": {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}},
        "runtime": {"engine": "sglang", "version": "1.6.1"},
        "prefill": {"parallelism": {"tensor": 1}, "engineConfig": {"chat-template": "text"}},
        "decode": {"parallelism": {"tensor": 1}},
    },
    "serve": {
        "model": {"name": "m", "source": {"huggingFace": HUB}},
        "runtime": {"engine": "trtllm", "frontend": "trtllm-serve", "version": "1.4.0rc1"},
        "discovery": {"backend": "etcd", "etcd": {"endpoints": ["http://etcd:2379"]}},
        "prefill": {"parallelism": {"tensor": 1}},
        "decode": {"parallelism": {"tensor": 1}},
        "frontend": {"config": {"schedule_style": "context_first"}},
    },
    "rack": {
        "model": {"name": "m", "source": {"huggingFace": HUB}},
        "platform": "gb200-nvl72",
        "runtime": {"engine": "trtllm", "version": "1.6.1"},
        "prefill": {"parallelism": {"tensor": 4}},
        "decode": {"parallelism": {"tensor": 4}},
        "computeDomain": {"name": "domain"},
    },
}


def fields(node: Object, path: str = "spec") -> Iterator[str]:
    """Yield the fields of a schema that hold text of the user's choice, keys of free maps among them."""
    if node.get("x-kubernetes-preserve-unknown-fields") or node.get("x-kubernetes-int-or-string"):
        yield path
    for key, child in node.get("properties", {}).items():
        yield from fields(child, f"{path}.{key}")
    if isinstance(node.get("additionalProperties"), dict):
        yield f"{path}{{}}"
        yield from fields(node["additionalProperties"], f"{path}.*")
    if "items" in node:
        yield from fields(node["items"], f"{path}[]")
    if node.get("type") == "string" and "enum" not in node:
        yield path


def opaque(node: Object, path: str = "spec") -> Iterator[str]:
    """Yield the fields of a schema whose shape belongs to another API."""
    if node.get("x-kubernetes-preserve-unknown-fields"):
        yield path
    for key, child in node.get("properties", {}).items():
        yield from opaque(child, f"{path}.{key}")
    if "items" in node:
        yield from opaque(node["items"], f"{path}[]")


def places(value: Any, place: Place = (), path: str = "spec") -> Iterator[tuple[str, Place]]:
    """Yield the field and the place of every text, and of every key of a map that holds no fields."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield f"{path}{{}}", (*place, key, "")
            yield f"{path}.*", (*place, key)
            yield from places(each, (*place, key), f"{path}.{key}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from places(each, (*place, index), f"{path}[]")
    elif isinstance(value, str):
        yield path, place


SCHEMA = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
FIELDS = sorted(set(fields(SCHEMA)))


def of_field(field: str, name: str) -> Iterator[Place]:
    """Yield the places of a field's texts in a deployment; of one that is another API's, all below it."""
    for found, place in places(DEPLOYMENTS[name]):
        below = found.startswith((f"{field}.", f"{field}[")) and place[-1] != ""
        text = _at(DEPLOYMENTS[name], place[:-1] if place[-1] == "" else place)
        if (found == field or (below and field in OPAQUE)) and (place[-1] == "" or isinstance(text, str)):
            yield place


OPAQUE = frozenset(opaque(SCHEMA))


def _at(value: Any, place: Place) -> Any:
    for part in place:
        value = value[part]
    return value


def _with(name: str, place: Place, text: str) -> Object:
    spec = copy.deepcopy(DEPLOYMENTS[name])
    if place[-1] == "":
        *parents, key = place[:-1]
        parent = _at(spec, tuple(parents))
        parent[text] = parent.pop(key)
    else:
        _at(spec, place[:-1])[place[-1]] = text
    return spec


def _value(name: str, place: Place) -> str:
    return str(place[-2]) if place[-1] == "" else str(_at(DEPLOYMENTS[name], place))


def _path(place: Place) -> str:
    path = "spec"
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.rstrip(".")


def _plain(field: str) -> str:
    """Return a path in the one of its spellings that has dots alone; entries of profiles go by their name."""
    return re.sub(r"(environment)[.\[].*", r"\1", field).replace("[", ".").replace("]", "")


def built(spec: Object) -> list[Object]:
    """Return the objects of a deployment.

    Raises:
        Refusal: it is refused.
    """
    resource = {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": "demo", "namespace": "ns", "uid": "u"},
        "spec": spec,
    }
    planned = plan(accept(resource), Installation("worker:test"))
    return [*shared_objects(planned), *worker_objects(planned)]


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Put variables in as Kubernetes does (third_party/forked/golang/expansion/expand.go)."""
    found = re.compile(r"\$(?:(\$)|\(([^)]*)\)|)")
    return found.sub(
        lambda hit: "$" if hit[1] else variables.get(hit[2], hit[0]) if hit[2] is not None else hit[0], text
    )


def as_run(value: Any) -> Any:
    """Return an object as it takes effect: variables put in, documents inside of texts parsed."""
    if isinstance(value, dict):
        if "command" in value and "image" in value:
            variables = {each["name"]: f"<{each['name']}>" for each in value.get("env", ())}
            # An option and its value may be one word or two.
            words = [
                part
                for word in value["command"]
                for part in (
                    expanded(word, variables).split("=", 1)
                    if word.startswith("--")
                    else [expanded(word, variables)]
                )
            ]
            env = [
                {**each, "value": expanded(each["value"], variables)} if "value" in each else each
                for each in value.get("env", ())
            ]
            value = {**value, "command": words, "env": env}
        return {
            key: yaml.safe_load(each) if str(key).endswith(".yaml") else as_run(each)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [as_run(each) for each in value]
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


HASHES = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}(?![0-9a-f])")


def differences(harmless: Any, hostile: Any, old: str, new: str, path: str = "") -> Iterator[str]:
    """Yield where objects differ in more than the one text in place of the other."""
    if isinstance(harmless, dict) and isinstance(hostile, dict):
        keys = {_told(key, old, new): key for key in harmless}
        if set(keys) != {HASHES.sub("#", str(key)) for key in hostile}:
            yield f"{path}: other keys: {sorted(map(str, hostile))}"
            return
        by_told = {HASHES.sub("#", str(key)): each for key, each in hostile.items()}
        for told, key in keys.items():
            yield from differences(harmless[key], by_told[told], old, new, f"{path}.{key}")
    elif isinstance(harmless, list) and isinstance(hostile, list) and len(harmless) == len(hostile):
        for index, (one, other) in enumerate(zip(harmless, hostile, strict=True)):
            yield from differences(one, other, old, new, f"{path}[{index}]")
    elif isinstance(harmless, str) and isinstance(hostile, str):
        if HASHES.sub("#", hostile) not in _forms(harmless, old, new):
            yield f"{path}: {hostile!r}"
    elif harmless != hostile:
        yield f"{path}: {hostile!r}"


def _told(text: Any, old: str, new: str) -> str:
    return HASHES.sub("#", str(text).replace(old, new))


def _forms(text: str, old: str, new: str) -> set[str]:
    """Return a text with the one value in place of the other, in all forms that are known to be meant."""
    forms = [
        (old, new),
        (quote(old, safe=""), quote(new, safe="")),
        (old.replace("/", "--"), new.replace("/", "--")),
    ]
    if "://" in old:
        forms += [(urlsplit(old).netloc, urlsplit(new).netloc)] if urlsplit(old).netloc else []
    trimmed = new.rstrip("/")
    return {_told(text, *form) for form in (*forms, (old, trimmed))}


def commands(objects: Any) -> Iterator[list[str]]:
    """Yield the commands of all containers and probes."""
    if isinstance(objects, dict):
        for key, value in objects.items():
            if key in ("command", "args") and isinstance(value, list):
                yield value
            else:
                yield from commands(value)
    elif isinstance(objects, list):
        for each in objects:
            yield from commands(each)


def scripts(objects: list[Object]) -> Iterator[str]:
    """Yield all that a shell or an interpreter runs."""
    for obj in objects:
        yield from (text for name, text in obj.get("data", {}).items() if name.endswith((".sh", ".py")))
    for command in commands(objects):
        if "-c" in command and command[0] in ("bash", "sh", "python3"):
            yield command[command.index("-c") + 1]


@cache
def _harmless(name: str, place: Place) -> tuple[str, list[Object]]:
    """Return a harmless value of a field, and the objects that it makes."""
    value = _value(name, place)
    for candidate in (f"{value}{MARK}", value):
        try:
            return candidate, built(_with(name, place, candidate))
        except Refusal:
            continue
    raise AssertionError(f"{name} is refused with its own {_path(place)}")


def taken(name: str, place: Place, text: str) -> bool:
    """Tell whether a value is accepted."""
    try:
        built(_with(name, place, text))
    except Refusal:
        return False
    return True


def check(name: str, place: Place, old: str, new: str) -> str:
    """Return what is wrong with how a value arrives, or nothing."""
    harmless = _harmless(name, place)[1]
    try:
        hostile = built(_with(name, place, new))
    except Refusal as refusal:
        named = [_plain(each.field) for each in refusal.problems]
        field = _plain(_path(place) if place[-1] != "" else _path(place[:-2]))
        if any(each.startswith(field) or (field.startswith(each) and each != "spec") for each in named):
            return ""
        return f"refused without naming {field}: {refusal}"
    json.dumps(hostile).encode()
    if any(new in text for text in scripts(hostile)):
        return "is part of a script"
    if new.startswith("-") and any(new in command for command in commands(hostile)):
        return "is taken for an option"
    # Variables of a container have the meaning that Kubernetes gives them.
    raw = place[-1] == "value" or "podTemplate" in place
    one, other = (harmless, hostile) if raw else (as_run(harmless), as_run(hostile))
    return "; ".join(list(differences(one, other, old, new))[:3])


CASES = [(field, name, place) for field in FIELDS for name in DEPLOYMENTS for place in of_field(field, name)]


def test_every_field_that_holds_text_is_tried() -> None:
    tried = {field for field, _, _ in CASES}
    unreached = [field for field in FIELDS if field not in tried]
    assert not unreached, "have a deployment above hold these fields"
    assert len(FIELDS) >= 60


@pytest.mark.parametrize(
    ("name", "place"),
    [case[1:] for case in CASES],
    ids=[f"{name}-{_path(place)}" for _, name, place in CASES],
)
def test_hostile_text_arrives_as_it_is_or_is_refused_by_its_field(name: str, place: Place) -> None:
    old, _ = _harmless(name, place)
    # Where a field takes all at once and keeps it, it does so one by one.
    tame = "".join(text for text in HOSTILE if "\0" not in text and "$(" not in text)
    each = [text for text in HOSTILE if text not in tame] if taken(name, place, f"{old}{tame}") else HOSTILE
    values = (f"{old}{tame}", *(f"{old}{text}" for text in each), *(f"{text}{old}" for text in LEADING))
    faults = {new: fault for new in values if (fault := check(name, place, old, new))}
    assert not faults


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    case=st.sampled_from(CASES),
    text=st.lists(st.sampled_from((*HOSTILE, *LEADING)) | st.text(max_size=8), min_size=1, max_size=4),
)
def test_so_does_any_mixture_of_it(case: tuple[str, str, Place], text: list[str]) -> None:
    _, name, place = case
    old, _ = _harmless(name, place)
    assert check(name, place, old, f"{old}{''.join(text)}") == ""
