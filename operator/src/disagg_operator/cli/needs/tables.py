"""What a deployment needs from its cluster, for people: sentences, tables, and commands to copy. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from disagg_operator.api.wording import counted
from disagg_operator.plan.names import DOWNLOAD
from disagg_operator.reconcile.preflight.snapshot import ENFORCE

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Headings and rows."""


def summary(document: Mapping[str, Any]) -> str:
    """Return how many nodes it takes, in sentences.

    Args:
        document: what `needed` returned.
    """
    nodes, platform = document["nodes"], document["platform"]
    gpus = nodes["gpus"]
    if nodes["count"] is None:
        told = [f"Platform {platform} does not say what a node has: as many nodes as the pods have room on"]
    else:
        kind = f" with {gpus['count']} {gpus['model']}" if gpus else ""
        told = [f"At least {counted(nodes['count'], 'node')}{kind} ({platform})"]
        if nodes["moreInRollout"]:
            told.append(f"{nodes['moreInRollout']} more while a new revision takes over (spec.rollout)")
    if nodes["rolesApart"]:
        told.append("no node with both prefill and decode")
    if nodes["sameValueOf"]:
        told.append(f"all workers on nodes with one value of {nodes['sameValueOf']}")
    return f"{'; '.join(told)}."


def pod_table(document: Mapping[str, Any]) -> Table:
    """Return what pods ask for."""
    rows = [
        (
            pods["role"],
            str(pods["count"]),
            str(pods["moreInRollout"]),
            ",\n".join(f"{name}: {value}" for name, value in pods["each"].items()),
            " or ".join(",\n".join(group) for group in pods["nodeLabels"]),
        )
        for pods in document["pods"]
    ]
    return ("Pods", "Count", "More in a rollout", "Each asks for", "On nodes with"), rows


def component_table(document: Mapping[str, Any]) -> Table:
    """Return what must be installed in the cluster."""
    rows = [(each["name"], ",\n".join(each["provides"]), each["note"]) for each in document["components"]]
    return ("What must be installed", "It provides", "Remark"), rows


def commands(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of how each component gets there: commands and addresses whole, to be copied.

    Args:
        document: what `needed` returned.
    """
    for each in document["components"]:
        yield f"{each['name']} ({'shows it' if each['shows'] else 'brings it'}):"
        yield from (f"  {line}" for line in (each["install"], each["source"]) if line)


def namespace_table(document: Mapping[str, Any]) -> Table:
    """Return what must be in the namespace before the deployment is."""
    security = document["podSecurity"]
    why = ";\n".join(f"{role}: {', '.join(found)}" for role, found in security["because"].items())
    rows = [
        (f"label\n{ENFORCE}", f"{security['level']}, or none", "", why),
        *(
            (each["kind"], each["name"], _with(each), ", ".join(map(_user, each["usedBy"])))
            for each in document["objects"]
        ),
    ]
    return (f"Namespace {document['namespace']} needs", "Name or value", "With", "For"), rows


def _with(found: Mapping[str, Any]) -> str:
    """Say what an object must have."""
    if found["keys"]:
        return f"{'key' if len(found['keys']) == 1 else 'keys'} {', '.join(found['keys'])}"
    if not found.get("accessModes"):
        return ""
    modes = " or\n".join(found["accessModes"])
    # Short lines leave room for names, which a terminal would break otherwise.
    pods = counted(found["pods"], "pod")
    return f"{modes}:\n{pods} mount it\n(ReadWriteOnce does\nwhere all are\non one node)"


def _user(component: str) -> str:
    return "the Job that fetches the model" if component == DOWNLOAD else component


def not_in_a_plan(document: Mapping[str, Any]) -> str:
    """Return where it is said what the fabrics take beside all this; nothing where no page does."""
    if not document["guides"]:
        return ""
    guides = ", ".join(document["guides"])
    return f"Not in a plan: what drivers, nodes and the network must be like. See {guides}"
