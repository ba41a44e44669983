"""Puts what a release left in clusters on a real API server, as its operator did."""

import copy
import json

import httpx

from disagg_operator.reconcile.kinds import OWNED, SECRET
from disagg_operator.runtime.kube import FIELD_MANAGER
from integration.operator.control_plane import ACCEPTED, Api, Object, eventually, make_pods_ready
from upgrade.release import NAMESPACE, Deployment

_APPLY = {"Content-Type": "application/apply-patch+yaml"}
_FORCED = {"fieldManager": FIELD_MANAGER, "force": "true"}
_PLURALS = {kind.kind: kind.plural for kind in (*OWNED, SECRET)}


def restore(api: Api, deployments: list[Deployment]) -> None:
    """Make deployments with all that belongs to them, have their pods ready, and report what was reported.

    Args:
        api: the administrator of an API server with a controller manager and no node.
        deployments: what to make; their namespace is there.
    """
    for each in deployments:
        made = {key: value for key, value in each.resource.items() if key != "status"}
        uids = {each.name: api.create("disaggdeployments", NAMESPACE, made)["metadata"]["uid"]}
        for body in each.children:
            found = _restored(api, body, uids)
            uids[found["metadata"]["name"]] = found["metadata"]["uid"]
    wanted = sum(
        obj["spec"]["replicas"]
        for resource in ("statefulsets", "deployments")
        for obj in api.find(resource, NAMESPACE)
    )
    eventually(
        lambda: len(ready_pods(api)) == wanted,
        f"{wanted} pods are ready",
        meanwhile=lambda: make_pods_ready(api, NAMESPACE),
    )
    for each in deployments:
        status = {key: each.resource[key] for key in ("apiVersion", "kind", "status")}
        path = api.path("disaggdeployments", NAMESPACE, each.name) + "/status"
        _apply(api, path, {**status, "metadata": {"name": each.name}})


def ready_pods(api: Api) -> dict[str, str]:
    """Return the uids of all pods that are ready, by name."""
    return {
        pod["metadata"]["name"]: pod["metadata"]["uid"]
        for pod in api.find("pods", NAMESPACE)
        for condition in pod["status"].get("conditions", [])
        if (condition["type"], condition["status"]) == ("Ready", "True")
    }


def _restored(api: Api, body: Object, uids: dict[str, str]) -> Object:
    found = copy.deepcopy(body)
    for owner in found["metadata"]["ownerReferences"]:
        owner["uid"] = uids[owner["name"]]
    resource = _PLURALS[found["kind"]]
    if found["kind"] in ("Secret", "DisaggScaler"):  # which the operator creates, and never applies
        return api.create(resource, NAMESPACE, found)
    return _apply(api, api.path(resource, NAMESPACE, found["metadata"]["name"]), found)


def _apply(api: Api, path: str, body: Object) -> Object:
    answer: httpx.Response = api.http.patch(path, params=_FORCED, content=json.dumps(body), headers=_APPLY)
    assert answer.status_code in ACCEPTED, answer.text
    stored: Object = answer.json()
    return stored
