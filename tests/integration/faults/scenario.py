"""What fault tests share: an operator that is started again as by a kubelet, and what comes out at last.

Two runs are compared by `outcome`: all objects of a deployment, without what differs between any two runs
(uids, versions, times, addresses, the names of namespace, deployment and revision).
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from integration.operator.control_plane import (
    LIMIT_SECONDS,
    OWNED,
    Api,
    Deployed,
    Object,
    OperatorProcess,
    eventually,
    make_pods_ready,
)

RECOVERY_SECONDS = float(os.environ.get("RECOVERY", LIMIT_SECONDS))
"""Time after the end of a trouble within which everything must be as in a run without it.

`make test-faults` asks for 30 s; where other tests run beside these, more is let pass.
"""
_OF_A_RUN = {"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"}
_GIVEN_OUT = {"clusterIP", "clusterIPs", "nodePort", "healthCheckNodePort"}
_HISTORY = {"deployment.kubernetes.io/revision"}
_DIGESTS = {"disagg.dev/applied-hash", "disagg.dev/planned-for"}
"""Annotations that are made of names, too."""


@dataclass
class Kept:
    """An operator process that is started again when it ends, as a kubelet does with its container.

    Attributes:
        process: the operator.
        exits: codes with which it ended by itself.
    """

    process: OperatorProcess
    exits: list[int] = field(default_factory=list)

    def tend(self) -> None:
        """Start it again if it has ended."""
        assert self.process.process
        code = self.process.process.poll()
        if code is not None:
            self.exits.append(code)
            self.process.start()


def settled(demo: Deployed) -> bool:
    """Tell whether what is asked for now is rolled out, and its status says so."""
    resource = demo.resource()
    status = resource.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    return bool(
        status.get("observedGeneration") == resource["metadata"]["generation"]
        and conditions.get("Progressing", {}).get("reason") == "Complete"
        and conditions.get("Available", {}).get("status") == "True"
    )


def await_settled(
    demos: Iterable[Deployed], seconds: float = LIMIT_SECONDS, tend: Callable[[], None] = lambda: None
) -> float:
    """Wait until all deployments are rolled out; return the seconds that took."""
    began = time.monotonic()
    waiting = list(demos)

    def meanwhile() -> None:
        tend()
        for namespace in {(demo.api, demo.namespace) for demo in waiting}:
            make_pods_ready(*namespace)

    def done() -> bool:
        waiting[:] = [demo for demo in waiting if not settled(demo)]
        return not waiting

    eventually(done, "all deployments are rolled out", seconds, meanwhile)
    return time.monotonic() - began


def await_recovery(demos: Iterable[Deployed], kept: Kept) -> float:
    """Wait until all deployments are rolled out, now that the trouble is over; return the seconds that took.

    Where the process ended because it had lost its Lease, the machine that starts it again has the say.
    """
    exits = len(kept.exits)
    took = await_settled(demos, 2 * LIMIT_SECONDS, kept.tend)
    assert took < RECOVERY_SECONDS or len(kept.exits) > exits, took
    return took


def outcome(demo: Deployed) -> dict[str, Object]:
    """Return what there is of a deployment, by kind and name, without what differs between any two runs."""
    resource = demo.resource()
    status = resource["status"]
    found: dict[str, Any] = {
        f"{plural}/{obj['metadata']['name']}": _lasting(obj) for plural in OWNED for obj in demo.find(plural)
    }
    for pod in demo.find("pods"):
        labels = pod["metadata"]["labels"]
        key = f"pods/{labels['disagg.dev/role']}"
        found[key] = found.get(key, 0) + 1
    found["conditions"] = {each["type"]: [each["status"], each["reason"]] for each in status["conditions"]}
    found["spec"] = resource["spec"]
    text = json.dumps(found, sort_keys=True)
    for name, word in ((demo.namespace, "NAMESPACE"), (demo.name, "NAME"), (status["revision"], "REVISION")):
        text = text.replace(name, word)
    # Digests of namespace and name tell discovery scopes and accounts apart.
    text = re.sub(r"\bd[0-9a-f]{8}-NAME", "SCOPE-NAME", text)
    loaded: dict[str, Object] = json.loads(re.sub(r"NAME-worker-[0-9a-f]{8}\b", "NAME-worker", text))
    return loaded


def _lasting(obj: Object) -> Object:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _OF_A_RUN}
    metadata["annotations"] = {
        key: value for key, value in metadata.get("annotations", {}).items() if key not in _HISTORY | _DIGESTS
    }
    metadata["ownerReferences"] = [
        {key: value for key, value in each.items() if key != "uid"} for each in metadata["ownerReferences"]
    ]
    kept = {key: value for key, value in obj.items() if key not in {"metadata", "status", "spec"}}
    kept["metadata"] = metadata
    if "spec" in obj:
        kept["spec"] = _without_addresses(obj["spec"])
    return kept


def _without_addresses(spec: Any) -> Any:
    if isinstance(spec, dict):
        return {key: _without_addresses(value) for key, value in spec.items() if key not in _GIVEN_OUT}
    return [_without_addresses(each) for each in spec] if isinstance(spec, list) else spec


def differences(found: Any, wanted: Any, path: str = "") -> list[str]:
    """Return where two outcomes differ, one line each."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            line
            for key in sorted(found.keys() | wanted.keys())
            for line in differences(found.get(key, "nothing"), wanted.get(key, "nothing"), f"{path}/{key}")
        ]
    return [] if found == wanted else [f"{path} is {str(found)[:200]}, not {str(wanted)[:200]}"]


def gone(demo: Deployed) -> bool:
    """Tell whether nothing is left of a deployment."""
    return not any(demo.children().values()) and not demo.find("pods")


def identities(demo: Deployed) -> dict[str, tuple[str, int | None]]:
    """Return uid and generation of the deployment's workloads and pods: what a needless change changes."""
    return {
        f"{resource}/{obj['metadata']['name']}": (obj["metadata"]["uid"], obj["metadata"].get("generation"))
        for resource in ("statefulsets", "deployments", "pods")
        for obj in demo.find(resource)
    }


def counted(metrics: str, name: str, **labels: str) -> float:
    """Return the sum of a counter's series that have these labels.

    Args:
        metrics: what /metrics says.
        name: of the counter, with ``_total``.
        labels: labels and their values.
    """
    total = 0.0
    for line in metrics.splitlines():
        series, _, value = line.rpartition(" ")
        if series.partition("{")[0] == name and all(
            re.search(rf'\b{label}="{re.escape(wanted)}"', series) for label, wanted in labels.items()
        ):
            total += float(value)
    return total


def deployed(api: Api, namespace: str, name: str) -> Deployed:
    """Return a deployment that is not created yet."""
    return Deployed(api, namespace, name)
