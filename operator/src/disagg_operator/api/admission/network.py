"""Rules about the network: peers have the shape of a NetworkPolicy's, and what is written is heeded."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from disagg_operator.api.admission.rule import Finding, Rule
from disagg_operator.api.admission.templates import mapping, templates
from disagg_operator.api.v1alpha1.network import NetworkPolicyMode
from disagg_operator.api.v1alpha1.patterns import QUALIFIED_NAME
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec

_FIELD = "spec.network"
_SELECTORS = ("podSelector", "namespaceSelector")
_WITH_VALUES, _WITHOUT_VALUES = ("In", "NotIn"), ("Exists", "DoesNotExist")
_LABEL_VALUE = r"^([A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?)?$"
_LONGEST_NAME, _LONGEST_PREFIX = 63, 253
_SOURCE = "https://kubernetes.io/docs/concepts/services-networking/network-policies/"


def in_host_network(spec: DisaggDeploymentSpec) -> Iterator[str]:
    """Yield the fields that put pods into the network of their node, which no NetworkPolicy covers."""
    for path, template in templates(spec):
        if mapping(template, "spec").get("hostNetwork") is True:
            yield f"{path}.spec.hostNetwork"


def peer_faults(path: str, peer: Any) -> Iterator[Finding]:
    """Yield what is wrong with a peer of a NetworkPolicy.

    Args:
        path: where it is written.
        peer: what is written there.
    """
    if not isinstance(peer, Mapping):
        yield Finding(path, "must be an object", "Write podSelector, namespaceSelector or ipBlock")
        return
    for key in peer:
        if key not in (*_SELECTORS, "ipBlock"):
            yield Finding(f"{path}.{key}", "a peer of a NetworkPolicy has no such field", _ONE_OF)
    given = {key: value for key, value in peer.items() if value is not None}
    if not given:
        yield Finding(path, "names nobody", _ONE_OF)
    if "ipBlock" in given and len(given) > 1:
        yield Finding(f"{path}.ipBlock", "stands beside selectors", "Make it a peer of its own")
    for key in _SELECTORS:
        if key in given:
            yield from _selector_faults(f"{path}.{key}", given[key])
    if "ipBlock" in given:
        yield from _block_faults(f"{path}.ipBlock", given["ipBlock"])


_ONE_OF = "Write podSelector and namespaceSelector, or one of them, or ipBlock"


def _selector_faults(path: str, selector: Any) -> Iterator[Finding]:
    if not isinstance(selector, Mapping):
        yield Finding(path, "must be an object", "Write matchLabels, or {} for all")
        return
    for key, value in selector.items():
        if key == "matchLabels" and isinstance(value, Mapping):
            for name, text in value.items():
                yield from _label_faults(f"{path}.matchLabels", name)
                yield from _value_faults(f"{path}.matchLabels[{name}]", text)
        elif key == "matchExpressions" and isinstance(value, list):
            for index, each in enumerate(value):
                yield from _expression_faults(f"{path}.matchExpressions[{index}]", each)
        elif key in ("matchLabels", "matchExpressions"):
            kind = "an object" if key == "matchLabels" else "a list"
            yield Finding(f"{path}.{key}", f"must be {kind}", f"Write {kind}, as in a NetworkPolicy")
        else:
            yield Finding(
                f"{path}.{key}", "a label selector has no such field", "Write matchLabels or matchExpressions"
            )


def _expression_faults(path: str, expression: Any) -> Iterator[Finding]:
    if not isinstance(expression, Mapping):
        yield Finding(path, "must be an object", "Write key, operator and values")
        return
    for key in expression:
        if key not in ("key", "operator", "values"):
            yield Finding(f"{path}.{key}", "is unknown here", "Write key, operator and values")
    yield from _label_faults(f"{path}.key", expression.get("key"))
    operator, values = expression.get("operator"), expression.get("values")
    if operator not in (*_WITH_VALUES, *_WITHOUT_VALUES):
        remedy = f"Write {', '.join((*_WITH_VALUES, *_WITHOUT_VALUES))}"
        yield Finding(f"{path}.operator", f"is not an operator: {str(operator)[:60]!r}", remedy)
    elif operator in _WITHOUT_VALUES and values:
        yield Finding(f"{path}.values", f"{operator} takes no values", "Leave them out")
    elif operator in _WITH_VALUES and not (isinstance(values, list) and values):
        yield Finding(f"{path}.values", f"{operator} needs values", "Write a list of them")
    if isinstance(values, list):
        for index, text in enumerate(values):
            yield from _value_faults(f"{path}.values[{index}]", text)


def _label_faults(path: str, name: Any) -> Iterator[Finding]:
    text = name if isinstance(name, str) else ""
    prefix, _, last = text.rpartition("/")
    fits = len(last) <= _LONGEST_NAME and len(prefix) <= _LONGEST_PREFIX
    if not fits or not re.fullmatch(QUALIFIED_NAME, text):
        yield Finding(path, f"{str(name)[:60]!r} is no key of a label", "Write one such as app or a.b/app")


def _value_faults(path: str, text: Any) -> Iterator[Finding]:
    if not isinstance(text, str) or not re.fullmatch(_LABEL_VALUE, text):
        remedy = "Write at most 63 letters, digits, dashes, dots and underscores; numbers in quotes"
        yield Finding(path, f"{str(text)[:60]!r} is no value of a label", remedy)


def _block_faults(path: str, block: Any) -> Iterator[Finding]:
    if not isinstance(block, Mapping):
        yield Finding(path, "must be an object", "Write cidr, and except if need be")
        return
    for key in block:
        if key not in ("cidr", "except"):
            yield Finding(f"{path}.{key}", "is unknown here", "Write cidr, and except if need be")
    whole = _network(block.get("cidr"))
    if whole is None:
        yield Finding(f"{path}.cidr", "is no network", "Write one such as 10.0.0.0/16")
    left_out = block.get("except")
    if left_out is not None and not isinstance(left_out, list):
        yield Finding(f"{path}.except", "must be a list", "Write a list of networks")
        return
    for index, each in enumerate(left_out or ()):
        part = _network(each)
        inside = part is not None and whole is not None and part.version == whole.version
        if not inside or part == whole or not part.subnet_of(whole):
            remedy = "Write a smaller network inside cidr"
            yield Finding(f"{path}.except[{index}]", "is no network inside cidr", remedy)


def _network(text: Any) -> Any:
    try:
        return ip_network(text) if isinstance(text, str) and "/" in text else None
    except ValueError:
        return None


def _peers(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for field, peers in _lists(spec):
        for index, peer in enumerate(peers):
            yield from peer_faults(f"{field}[{index}]", peer)


def _lists(spec: DisaggDeploymentSpec) -> tuple[tuple[str, list[Any]], ...]:
    network = spec.network
    return (f"{_FIELD}.clients", network.clients), (f"{_FIELD}.metricsFrom", network.metrics_from)


def _heeded(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    hosted = next(in_host_network(spec), None)
    if spec.network.policy is NetworkPolicyMode.RESTRICT and hosted is not None:
        fault = f"a NetworkPolicy neither covers nor knows pods in the host network ({hosted})"
        yield Finding(f"{_FIELD}.policy", fault, "Write None, or leave out hostNetwork")
    if spec.network.policy is not NetworkPolicyMode.NONE and hosted is None:
        return
    for field, peers in _lists(spec):
        if peers:
            why = "the policy is None" if hosted is None else f"no policy is made with {hosted}"
            yield Finding(field, f"has no effect: {why}", "Leave it out, or have policy: Restrict")


RULES: tuple[Rule[DisaggDeploymentSpec], ...] = (
    Rule(
        "network-peers",
        _SOURCE,
        _peers,
        says="a peer of the NetworkPolicy is not written as Kubernetes wants it",
    ),
    Rule("network-heeded", "docs/network.md", _heeded),
)
