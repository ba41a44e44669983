"""What is on the API server for deployments of a namespace, now and since it was first looked at. TEST TOOL.

A snapshot is what is there without what differs between two runs: uids, times, digests, generated names. The
history is told by watches: how many pods and StatefulSets were ever made, and what was once available and is
not any more.
"""

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from integration.faults.crash.points import neutral, owner_of
from integration.operator.control_plane import Api

Object = dict[str, Any]
Snapshot = tuple[str, ...]

RESOURCES = (
    *("serviceaccounts", "configmaps", "services", "secrets", "rolebindings", "poddisruptionbudgets"),
    "networkpolicies",
    *("statefulsets", "deployments", "jobs", "disaggscalers", "disaggdeployments", "computedomains"),
    *("resourceclaimtemplates", "resourceclaims", "pods", "controllerrevisions", "replicasets"),
)
_GENERATED = {"controllerrevisions", "replicasets", "resourceclaims"}
"""Resources whose names end with what Kubernetes makes up."""
_TEMPLATES = "deployment.kubernetes.io/revision"
"""Counts the templates that a Deployment has had."""
_COUNTS = ("replicas", "readyReplicas", "availableReplicas", "updatedReplicas")
_WATCH_SECONDS = 20


class Watch(threading.Thread):
    """Tells of everything that happens to objects of one resource, from their first list on."""

    def __init__(
        self, kubeconfig: Path, resource: str, namespace: str, told: Callable[[Object], None]
    ) -> None:
        super().__init__(name=f"watch of {resource}", daemon=True)
        self._api, self._told, self._ended = Api(kubeconfig), told, threading.Event()
        self._path, self._version = self._api.path(resource, namespace), "0"

    def end(self) -> None:
        """End once the API server says something, or ends the watch."""
        self._ended.set()

    def run(self) -> None:
        while not self._ended.is_set():
            # The API server breaks watches off when it ends, which may be before this does.
            with suppress(httpx.TransportError):
                self._follow()
            self._ended.wait(0.1)
        self._api.close()

    def _follow(self) -> None:
        query = {"watch": "1", "resourceVersion": self._version, "timeoutSeconds": str(_WATCH_SECONDS)}
        with self._api.http.stream("GET", self._path, params=query, timeout=60) as answer:
            if answer.is_error:  # the API server still prepares for a new kind
                self._ended.wait(1)
                return
            for line in answer.iter_lines():
                event = json.loads(line)
                assert event["type"] != "ERROR", event
                self._version = event["object"]["metadata"]["resourceVersion"]
                self._told(event["object"])
                if self._ended.is_set():
                    return


@dataclass
class History:
    """What happened to deployments; each is by deployment."""

    pods: dict[str, dict[str, set[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    """uids of all pods that there ever were, by neutral name."""
    sets: dict[str, dict[str, set[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    """uids of all StatefulSets that there ever were, by name, and of the ReplicaSets of each Deployment."""
    lost: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Why a deployment was not available any more, each time."""
    _available: dict[str, bool] = field(default_factory=dict)

    def note_pod(self, obj: Object) -> None:
        """Take note of a pod."""
        name = obj["metadata"]["name"]
        owner = owner_of(name)
        if owner is not None:
            self.pods[owner][neutral(name, owner)].add(obj["metadata"]["uid"])

    def note_stateful_set(self, obj: Object) -> None:
        """Take note of a StatefulSet."""
        self._note_set(obj["metadata"]["name"], obj)

    def note_replica_set(self, obj: Object) -> None:
        """Take note of a ReplicaSet, of which a Deployment has one for each template of its pods."""
        self._note_set(_name("replicasets", obj), obj)

    def _note_set(self, name: str, obj: Object) -> None:
        owner = owner_of(name)
        if owner is not None:
            self.sets[owner][name.replace(owner, "NAME")].add(obj["metadata"]["uid"])

    def note_deployment(self, obj: Object) -> None:
        """Take note of what a deployment says of itself."""
        name = obj["metadata"]["name"]
        for condition in obj.get("status", {}).get("conditions", []):
            if condition["type"] == "Available":
                is_true = condition["status"] == "True"
                if self._available.get(name) and not is_true:
                    self.lost[name].append(neutral(f"{condition['reason']}: {condition['message']}", name))
                self._available[name] = is_true

    def pods_made(self, deployment: str) -> Counter[str]:
        """Count the pods that there ever were, by neutral name."""
        return Counter({name: len(uids) for name, uids in self.pods[deployment].items()})

    def sets_made(self, deployment: str) -> Counter[str]:
        """Count the sets of pods that there ever were, by neutral name; two revisions have one."""
        found: Counter[str] = Counter()
        for name, uids in self.sets[deployment].items():
            found[neutral(name, deployment)] += len(uids)
        return found


def snapshots(api: Api, namespace: str) -> dict[str, Snapshot]:
    """Return what is there of each deployment.

    How many templates a Deployment had before is history, and no part of it: a step of a rollout may be over
    before the operator could write the frontends of it.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for resource in RESOURCES:
        for obj in _find(api, resource, namespace):
            owner = owner_of(obj["metadata"]["name"])
            if owner is not None and not _is_of_before(resource, obj):
                text = json.dumps(_kept(resource, obj), sort_keys=True, indent=1)
                name = neutral(_name(resource, obj), owner)
                found[owner].append(f"{resource}/{name} {neutral(text, owner)}")
    return {owner: tuple(sorted(texts)) for owner, texts in found.items()}


def _find(api: Api, resource: str, namespace: str) -> list[Object]:
    try:
        return api.find(resource, namespace)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.NOT_FOUND:  # a kind that only some clusters serve
            return []
        raise


def events(api: Api, namespace: str) -> dict[str, Counter[str]]:
    """Count the operator's Events about each deployment, by reason."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for event in api.find("events", namespace):
        if event.get("reportingController") == "disagg.dev/operator":
            found[event["regarding"]["name"]][event["reason"]] += event.get("deprecatedCount") or 1
    return found


def _is_of_before(resource: str, obj: Object) -> bool:
    return resource == "replicasets" and not obj["spec"]["replicas"]


def _name(resource: str, obj: Object) -> str:
    name: str = obj["metadata"]["name"]
    return name.rpartition("-")[0] if resource in _GENERATED else name


def _kept(resource: str, obj: Object) -> Object:
    """Return what is compared of an object."""
    metadata = obj["metadata"]
    if resource == "controllerrevisions":
        return {}
    if resource == "replicasets":
        return {"replicas": obj["spec"]["replicas"]}
    if resource == "pods":
        return {
            "labels": {k: v for k, v in metadata["labels"].items() if "hash" not in k},
            "ready": _ready(obj),
        }
    kept: Object = {"metadata": dict(_of_metadata(metadata))}
    if resource == "resourceclaims":
        return kept
    kept |= {key: obj[key] for key in ("spec", "data", "roleRef", "subjects") if key in obj}
    if resource == "services":
        kept["spec"] = {
            key: value for key, value in obj["spec"].items() if key not in ("clusterIP", "clusterIPs")
        }
    if resource == "secrets":
        kept["data"] = sorted(obj["data"])
    if resource in ("statefulsets", "deployments"):
        kept["status"] = {key: obj.get("status", {}).get(key) for key in _COUNTS}
    if resource in ("disaggdeployments", "disaggscalers"):
        kept["status"] = obj.get("status", {})
    return kept


def _of_metadata(metadata: Object) -> Iterator[tuple[str, Any]]:
    for key in ("labels", "finalizers"):
        if metadata.get(key):
            yield key, metadata[key]
    if annotations := {k: v for k, v in metadata.get("annotations", {}).items() if k != _TEMPLATES}:
        yield "annotations", annotations
    owners = metadata.get("ownerReferences", [])
    yield "owners", [(owner["kind"], owner["name"]) for owner in owners]
    if "deletionTimestamp" in metadata:
        yield "deleted", True


def _ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
