"""What is done to deployments while the operator is killed. TEST TOOL.

Each scenario brings a deployment to rest, does one thing to it, and knows when that has come to its end. A
stand-in for the kubelet makes its pods ready meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from integration.operator.control_plane import Deployed, Object, deployment, ended_once

Condition = Callable[[Deployed], bool]

_UNVERIFIED: Object = {"verification": {"mode": "Off"}}
_TWO: Object = {"prefill": {"replicas": 2}, "decode": {"replicas": 2}}
_HUB: Object = {"name": "m", "source": {"huggingFace": {"repository": "org/m"}}}
_GROUPS: Object = {
    "model": _HUB,
    "platform": "aws-p5.48xlarge",
    "runtime": {"engine": "trtllm"},
    "prefill": {"parallelism": {"tensor": 8}},
    "decode": {"replicas": 2, "nodesPerReplica": 2, "parallelism": {"tensor": 16}},
}
_TRAY: Object = {"gpusPerNode": 4, "parallelism": {"tensor": 4}}
_RACK: Object = {
    "model": _HUB,
    "platform": "gb200-nvl72",
    "runtime": {"engine": "trtllm"},
    "prefill": _TRAY,
    "decode": _TRAY,
    "rollout": {"strategy": "Recreate"},
}
_IMAGE: Object = {"runtime": {"image": "disagg.local/worker:two"}}
BROKEN = "disagg.local/worker:broken"
"""An image whose pods never become ready."""


def at_rest(it: Deployed) -> bool:
    """Tell whether the deployment has come to what is asked for, and says so."""
    found = it.resource()
    status = found.get("status", {})
    reasons = {each["type"]: (each["reason"], each["status"]) for each in status.get("conditions", [])}
    return bool(
        status.get("observedGeneration") == found["metadata"]["generation"]
        and reasons.get("Progressing", ("", ""))[0] == "Complete"
        and reasons.get("Available", ("", ""))[1] == "True"
        and status.get("revision") == status.get("updateRevision")
    )


def gone(it: Deployed) -> bool:
    """Tell whether the deployment is gone."""
    path = it.api.path("disaggdeployments", it.namespace, it.name)
    return it.api.http.get(path).status_code == 404


def refused(it: Deployed) -> bool:
    """Tell whether the last edit was refused."""
    return bool(it.condition("Accepted")["reason"] == "InvalidSpec")


def paused(it: Deployed) -> bool:
    """Tell whether the deployment says that it is paused."""
    return bool(it.condition("Progressing")["reason"] == "Paused")


def given_up(it: Deployed) -> bool:
    """Tell whether a rollout was given up, and only the old revision is left."""
    return it.condition("Progressing")["reason"] == "ProgressDeadlineExceeded" and at_strength(it)


def at_strength(it: Deployed) -> bool:
    """Tell whether there is one StatefulSet of each role, with all its pods ready."""
    found = it.find("statefulsets")
    return len(found) == 2 and all(obj["status"].get("readyReplicas", 0) == 2 for obj in found)


@dataclass(frozen=True)
class Scenario:
    """One thing that is done.

    Attributes:
        name: of it.
        spec: of the deployment before.
        act: does it; None where it is to create the deployment.
        ended: tells whether it has come to its end.
        driver: whether NVIDIA's driver of ComputeDomains is needed.
    """

    name: str
    spec: Object = field(default_factory=dict)
    act: Callable[[Deployed], None] | None = None
    ended: Condition = at_rest
    driver: bool = False

    def create(self, it: Deployed) -> None:
        """Create a deployment as it is before."""
        resource = deployment(it.name, **{**_UNVERIFIED, **self.spec})
        it.api.create("disaggdeployments", it.namespace, resource)


def _edit(**spec: Any) -> Callable[[Deployed], None]:
    return lambda it: it.edit(**spec)


def _delete(it: Deployed) -> None:
    it.api.delete("disaggdeployments", it.namespace, it.name)


def _kill_a_rank(it: Deployed) -> None:
    """STAND-IN for the kubelet: a container of decode's first group ended, and runs again."""
    found = it.find("pods", "decode")
    (pod,) = [
        pod
        for pod in found
        if pod["metadata"]["labels"]["disagg.dev/group"] == "0"
        and pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
    ]
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    it.api.patch("pods", it.namespace, pod["metadata"]["name"], ended_once(now), "/status")


def _restarted(it: Deployed) -> bool:
    pods = it.find("pods", "decode")
    return (
        len(pods) == 4
        and not any(pod["status"].get("containerStatuses") for pod in pods)
        and at_rest(it)
        and it.status()["roles"]["decode"]["ready"] == "2/2"
    )


def _pause_and_edit(it: Deployed) -> None:
    it.patch(
        {"metadata": {"annotations": {"disagg.dev/paused": "true"}}, "spec": {"decode": {"replicas": 3}}}
    )


SCENARIOS = (
    Scenario("create", _TWO),
    Scenario("edit-frontend", _TWO, _edit(frontend={"replicas": 2})),
    Scenario("edit-refused", _TWO, _edit(platform="no-such-platform"), refused),
    Scenario("pause", _TWO, _pause_and_edit, paused),
    Scenario("rollout-surge", _TWO, _edit(**_IMAGE)),
    Scenario("rollout-recreate", {**_TWO, "rollout": {"strategy": "Recreate"}}, _edit(**_IMAGE)),
    Scenario(
        "rollout-given-up",
        {**_TWO, "rollout": {"progressDeadlineSeconds": 30}},
        _edit(runtime={"image": BROKEN}),
        given_up,
    ),
    Scenario("scale-up", _TWO, _edit(prefill={"replicas": 3}, decode={"replicas": 4})),
    Scenario("scale-down", _TWO, _edit(prefill={"replicas": 1}, decode={"replicas": 1})),
    Scenario("scaler-create", {**_TWO, "scaling": {"decode": {"maxReplicas": 3}}}),
    Scenario("etcd-create", {**_TWO, "discovery": {"backend": "etcd"}}),
    Scenario("groups-create", _GROUPS),
    Scenario("groups-rollout", _GROUPS, _edit(runtime={"image": "disagg.local/worker:two"})),
    Scenario("groups-scale-up", _GROUPS, _edit(decode={"replicas": 3})),
    Scenario("groups-scale-down", _GROUPS, _edit(decode={"replicas": 1})),
    Scenario("group-restart", _GROUPS, _kill_a_rank, _restarted),
    Scenario("domain-create", _RACK, driver=True),
    Scenario("domain-delete", _RACK, _delete, gone, driver=True),
    Scenario("delete", _TWO, _delete, gone),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
