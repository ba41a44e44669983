"""From a graph, and what stands beside it in its file, to a DisaggDeployment.

Invariant: pure. The same input gives the same resource and the same notes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from disagg_operator.api.problems import Problem
from disagg_operator.cli.convert.bundle import Bundle
from disagg_operator.cli.convert.draft import Choice, Draft
from disagg_operator.cli.convert.frontend import write_frontend
from disagg_operator.cli.convert.graph import Component, Graph, graph_of
from disagg_operator.cli.convert.ledger import Note
from disagg_operator.cli.convert.model import write_model
from disagg_operator.cli.convert.part import Part
from disagg_operator.cli.convert.placeholders import WHY, is_placeholder
from disagg_operator.cli.convert.platform import write_platform
from disagg_operator.cli.convert.pods import (
    PREVIEW,
    TOPOLOGY,
    offer_security,
    write_placement,
    write_pod,
    write_security,
    write_volumes,
)
from disagg_operator.cli.convert.release import write_runtime
from disagg_operator.cli.convert.roleparts import write_role
from disagg_operator.cli.convert.roles import Cast, cast_of
from disagg_operator.cli.convert.settle import settle
from disagg_operator.cli.convert.variables import offer_variables, read_discovery
from disagg_operator.cli.planning import judged
from disagg_operator.plan.installation import Installation

_OTHERS = {
    "planner": "Dynamo's planner changes DynamoGraphDeployments only: scale by spec.scaling with HPA or KEDA "
    "(docs/scaling.md)",
    "epp": "no endpoint picker of a gateway runs: the frontend chooses workers (spec.frontend.routerMode)",
    "frontend": "a DisaggDeployment has one frontend, of any number of replicas",
}
_OTHER = "a DisaggDeployment has prefill, decode and a frontend: nothing runs this component"
_API_SERVER = (
    "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields",
    "selfLink", "deletionGracePeriodSeconds",
)  # fmt: skip
_GRAPH_DROPPED = {
    "restart": "a restart was asked for, which is over",
    "priorityClassName": "write it into spec.prefill.podTemplate and spec.decode.podTemplate",
    "topologyConstraint": TOPOLOGY,
    "experimental": PREVIEW,
}


@dataclass(frozen=True)
class Wishes:
    """What the user says beside the file; nothing where it is to be found out.

    Attributes:
        platform: name of a platform.
        version: version of Dynamo.
    """

    platform: str = ""
    version: str = ""


@dataclass(frozen=True)
class Conversion:
    """A converted graph.

    Attributes:
        graph: name of the graph.
        resource: the DisaggDeployment.
        choices: what was found out, and how.
        notes: what became of every field of the input.
        problems: why the resource cannot be accepted; empty where it can.
        warnings: what is doubtful about it.
    """

    graph: str
    resource: Mapping[str, Any]
    choices: tuple[Choice, ...]
    notes: tuple[Note, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def converted(document: Part, bundle: Bundle, installation: Installation, wishes: Wishes) -> Conversion:
    """Return a graph as a DisaggDeployment.

    Args:
        document: the graph.
        bundle: the documents of its file.
        installation: settings of the operator's installation, with the platforms and releases that are known.
        wishes: what the user says beside the file.

    Raises:
        ConversionError: it cannot be converted; the message says why.
    """
    graph = graph_of(document)
    cast = cast_of(graph)
    draft = Draft()
    for worker in cast.workers:
        draft.choose(worker.role, worker.component.name, worker.how)
    _write_metadata(draft, graph)
    engine = write_runtime(draft, graph, cast, installation.catalogue, wishes.version)
    write_platform(draft, cast, bundle, installation.catalogue, wishes.platform)
    write_model(draft, cast)
    _write_workers(draft, cast, bundle, engine)
    write_frontend(draft, graph, cast)
    if cast.frontend is not None:
        write_pod(draft, cast.frontend, "spec.frontend", bundle)
        write_volumes(draft, cast.frontend, "spec.frontend")
        write_security(draft, cast.frontend, "spec.frontend")
    write_placement(draft, cast)
    _write_rest(draft, graph, cast, bundle)
    settle(draft, installation)
    problems, warnings = judged(draft.resource(), installation)
    notes = draft.ledger.notes((document, *bundle.beside))
    return Conversion(graph.name, draft.resource(), tuple(draft.choices), tuple(notes), problems, warnings)


def _write_metadata(draft: Draft, graph: Graph) -> None:
    metadata = graph.part["metadata"]
    for key in ("apiVersion", "kind"):
        draft.note(key, graph.part[key])
    draft.write("metadata.name", metadata["name"].text, metadata["name"])
    namespace = metadata["namespace"]
    if is_placeholder(namespace.text):
        draft.ledger.dropped(namespace, WHY)
    elif namespace:
        draft.write("metadata.namespace", namespace.text, namespace)
    for kind in ("labels", "annotations"):
        for key, part in metadata[kind].items():
            if key.startswith(("nvidia.com/", "kubectl.kubernetes.io/")):
                draft.ledger.dropped(part, "it steers Dynamo's own operator or was written by kubectl")
            else:
                draft.write(("metadata", kind, key), part.text, part)
    draft.dropped((metadata[key] for key in _API_SERVER), "the API server writes it")
    draft.dropped(
        (metadata[key] for key in ("ownerReferences", "finalizers")), "it is of the graph in the cluster"
    )
    draft.dropped([graph.part["status"]], "Dynamo's operator observed it")


def _write_workers(draft: Draft, cast: Cast, bundle: Bundle, engine: str) -> None:
    for worker in cast.workers:
        read_discovery(draft, worker.component)
        write_role(draft, worker, bundle, engine)
    offer_variables(draft, cast)
    for worker in cast.workers:
        component, role = worker.component, worker.role
        draft.note(f"spec.{role}", component.kind, component.subtype)
        for source in component.variable_sources():
            if source.of_hub and not draft.ledger.knows(source.part):
                draft.ledger.dropped(source.part, "workers read the model from a volume, and need no token")
        write_pod(draft, component, f"spec.{role}", bundle)
        write_volumes(draft, component, f"spec.{role}")
        offer_security(draft, component, role)


def _write_rest(draft: Draft, graph: Graph, cast: Cast, bundle: Bundle) -> None:
    if cast.frontend is not None:
        draft.note("spec.frontend", cast.frontend.kind)
    for component in (*(worker.component for worker in cast.workers), cast.frontend):
        if component is not None and isinstance(component.part["name"].value, str):
            draft.derived([component.part["name"]], "the operator names its objects by the role")
    for component in cast.others:
        _drop(draft, component)
    spec = graph.part["spec"]
    for key, why in _GRAPH_DROPPED.items():
        draft.dropped([spec[key]], why)
    for kind in ("labels", "annotations"):
        draft.dropped([spec[kind]], "write it into metadata of the podTemplates that need it")
    for claim in spec["pvcs"].entries():
        _tell_claim(draft, claim)
    for domain in bundle.compute_domains:
        why = "the operator makes one for the nodes of all workers, and deletes it after the last"
        draft.ledger.derived(domain, why, "spec.computeDomain")
    for document in bundle.others:
        draft.ledger.dropped(document, "it is no part of the deployment: apply it as it is")
    for document in bundle.config_maps.values():
        _tell_config_map(draft, document)


def _drop(draft: Draft, component: Component) -> None:
    kind = component.kind.text
    draft.ledger.dropped(component.part, _OTHERS.get(kind, _OTHER))


def _tell_claim(draft: Draft, claim: Part) -> None:
    if claim["create"].value is True:
        why = "the operator makes no PersistentVolumeClaims: make it before, of this size and class"
        draft.dropped((claim[key] for key in ("create", "size", "storageClass", "volumeAccessMode")), why)
    if not draft.ledger.knows(claim):
        draft.ledger.dropped(claim, "no worker mounts it")


def _tell_config_map(draft: Draft, document: Part) -> None:
    for key in ("apiVersion", "kind", "metadata"):
        draft.derived([document[key]], "the operator writes the engine's files into ConfigMaps of its own")
    for _, text in document["data"].items():
        if not draft.ledger.read(text):
            draft.ledger.dropped(text, "no worker's command names this file as its engine's")
