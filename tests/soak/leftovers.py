"""All objects of a cluster, of any kind and in any namespace, by which is found what is left over."""

import httpx

from integration.operator.control_plane import Api, eventually

Named = tuple[str, str, str]
"""Resource with its group, namespace and name."""

_PASSING = {
    "events": "they go after an hour",
    "events.k8s.io/events": "the same, by another name",
    "coordination.k8s.io/leases": "of the control plane, of machines, and the operator's own",
    "nodes": "machines that the script took away and brought back",
    "resource.k8s.io/resourceslices": "of machines",
    "storage.k8s.io/csinodes": "of machines",
}
"""What is not made for a deployment, by reason."""
_LATER = {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}


def everything(api: Api) -> set[Named]:
    """Return all objects that can be listed, but for those that nobody makes for a deployment."""
    found: set[Named] = set()
    for prefix, group in _groups(api):
        answer = api.http.get(prefix)
        answer.raise_for_status()
        for resource in answer.json()["resources"]:
            name = f"{group}/{resource['name']}" if group else resource["name"]
            if "list" not in resource["verbs"] or "/" in resource["name"] or name in _PASSING:
                continue
            listed = _get(api, f"{prefix}/{resource['name']}")
            if listed.status_code == httpx.codes.NOT_FOUND:
                continue
            listed.raise_for_status()
            for obj in listed.json()["items"]:
                metadata = obj["metadata"]
                found.add((name, metadata.get("namespace", ""), metadata["name"]))
    return found


def _get(api: Api, path: str) -> httpx.Response:
    """Ask again where the API server has no answer yet, as for a kind that it has just begun to serve."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        answers.append(api.http.get(path))
        return answers[-1].status_code not in _LATER

    eventually(answered, f"{path} is served")
    return answers[-1]


def _groups(api: Api) -> list[tuple[str, str]]:
    """Return path and name of each group's preferred version."""
    answer = api.http.get("/apis")
    answer.raise_for_status()
    versions = [
        (group["name"], group["preferredVersion"]["groupVersion"]) for group in answer.json()["groups"]
    ]
    return [("/api/v1", ""), *((f"/apis/{version}", name) for name, version in versions)]
