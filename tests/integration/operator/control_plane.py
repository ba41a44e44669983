"""What the operator's integration tests share: a client, an operator process, and a kubelet's stand-in."""

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

from testcluster.ports import free_ports

Object = dict[str, Any]
T = TypeVar("T")

GROUPS = {
    "disaggdeployments": "/apis/disagg.dev/v1alpha1",
    "disaggscalers": "/apis/disagg.dev/v1alpha1",
    "statefulsets": "/apis/apps/v1",
    "deployments": "/apis/apps/v1",
    "controllerrevisions": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "jobs": "/apis/batch/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "events": "/apis/events.k8s.io/v1",
    "computedomains": "/apis/resource.nvidia.com/v1beta1",
    "resourceclaimtemplates": "/apis/resource.k8s.io/v1",
    "resourceclaims": "/apis/resource.k8s.io/v1",
}
OWNED = ("serviceaccounts", "configmaps", "services", "rolebindings", "statefulsets", "deployments")
READS = {"get", "list", "watch"}
ACCEPTED = {200, 201}
WORKER_IMAGE = "disagg.local/worker:test"
LIMIT_SECONDS = 90.0
"""How long is waited for what must come at last, on a machine that does ten other things, too."""


class Api:
    """A plain client of one API server, as its administrator."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        with tempfile.NamedTemporaryFile() as pair:
            for part in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(user[part]) + b"\n")
            pair.flush()
            context.load_cert_chain(pair.name)
        self.http = httpx.Client(base_url=cluster["server"], verify=context, timeout=20, trust_env=False)

    def path(self, resource: str, namespace: str, name: str = "") -> str:
        prefix = GROUPS.get(resource, "/api/v1")
        return f"{prefix}/namespaces/{namespace}/{resource}{'/' + name if name else ''}"

    def find(self, resource: str, namespace: str, selector: str = "") -> list[Object]:
        answer = self.http.get(self.path(resource, namespace), params={"labelSelector": selector})
        answer.raise_for_status()
        items: list[Object] = answer.json()["items"]
        return items

    def get(self, resource: str, namespace: str, name: str) -> Object:
        answer = self.http.get(self.path(resource, namespace, name))
        answer.raise_for_status()
        found: Object = answer.json()
        return found

    def create(self, resource: str, namespace: str, obj: Object) -> Object:
        answer = self.http.post(self.path(resource, namespace), json=obj)
        assert answer.status_code in ACCEPTED, answer.text
        found: Object = answer.json()
        return found

    def patch(self, resource: str, namespace: str, name: str, patch: Object, subresource: str = "") -> None:
        self.patch_at(self.path(resource, namespace, name) + subresource, patch)

    def patch_at(self, path: str, patch: Object, *, may_be_gone: bool = False) -> None:
        """Patch what is at a path, such as an object of the whole cluster."""
        headers = {"Content-Type": "application/merge-patch+json"}
        answer = self.http.patch(path, content=json.dumps(patch), headers=headers)
        gone = may_be_gone and answer.status_code == httpx.codes.NOT_FOUND
        assert gone or answer.status_code in ACCEPTED, answer.text

    def delete(self, resource: str, namespace: str, name: str) -> None:
        self.http.delete(self.path(resource, namespace, name)).raise_for_status()

    def close(self) -> None:
        self.http.close()


def deployment(name: str = "demo", **spec: Any) -> Object:
    model = {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}}
    return {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": name},
        "spec": {"model": model, "platform": "local", "runtime": {"engine": "reference"}, **spec},
    }


def make_pods_ready(
    api: Api,
    namespace: str,
    selector: str = "",
    unless: str = "\0",
    address: str = "",
    *,
    broken: str = "",
) -> None:
    """STAND-IN for the kubelet, which this cluster lacks: report pods as ready, but for some names.

    Pods with readiness gates are ready once these are true; pods of a broken image never are. With an
    address, pods have that one.
    """
    now = "2026-01-01T00:00:00Z"
    for pod in api.find("pods", namespace, selector):
        conditions = {each["type"]: each for each in pod["status"].get("conditions", [])}
        gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates", [])]
        ready = str(all(conditions.get(gate, {}).get("status") == "True" for gate in gates))
        known = conditions.get("Ready", {}).get("status")
        if unless in pod["metadata"]["name"] or known == ready or (known and not gates):
            continue
        if broken in [container["image"] for container in pod["spec"]["containers"]]:
            continue
        found = {"PodScheduled": "True", "ContainersReady": "True", "Ready": ready}
        reported = [
            {"type": kind, "status": status, "lastTransitionTime": now} for kind, status in found.items()
        ]
        others = [each for kind, each in conditions.items() if kind not in found]
        status = {"phase": "Running", "conditions": [*others, *reported]}
        status |= {"podIP": address, "podIPs": [{"ip": address}]} if address else {}
        path = api.path("pods", namespace, pod["metadata"]["name"]) + "/status"
        # Another controller may have taken it meanwhile: a frontend that changed over, for one.
        api.patch_at(path, {"status": status}, may_be_gone=True)


def ended_once(at: str) -> Object:
    """Return the status of a pod whose container was ended for its memory and runs again.

    Args:
        at: when that was.
    """
    terminated = {"exitCode": 137, "reason": "OOMKilled", "startedAt": at, "finishedAt": at}
    container = {
        "name": "worker",
        "image": "i",
        "imageID": "",
        "ready": False,
        "restartCount": 1,
        "state": {"running": {"startedAt": at}},
        "lastState": {"terminated": terminated},
    }
    conditions = [
        {"type": kind, "status": status, "lastTransitionTime": at}
        for kind, status in (("PodScheduled", "True"), ("Ready", "False"))
    ]
    return {"status": {"phase": "Running", "conditions": conditions, "containerStatuses": [container]}}


def eventually(
    check: Callable[[], T],
    what: str,
    seconds: float = LIMIT_SECONDS,
    meanwhile: Callable[[], None] = lambda: None,
) -> T:
    """Return what the check returns once that is true."""
    end = time.monotonic() + seconds
    while True:
        meanwhile()
        found = check()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


@dataclass(frozen=True)
class Deployed:
    """One DisaggDeployment on the API server."""

    api: Api
    namespace: str
    name: str
    address: str = ""

    @property
    def selector(self) -> str:
        return f"disagg.dev/deployment={self.name}"

    def create(self, **spec: Any) -> None:
        self.api.create("disaggdeployments", self.namespace, deployment(self.name, **spec))

    def edit(self, **spec: Any) -> None:
        self.patch({"spec": spec})

    def patch(self, patch: Object) -> None:
        self.api.patch("disaggdeployments", self.namespace, self.name, patch)

    def resource(self) -> Object:
        return self.api.get("disaggdeployments", self.namespace, self.name)

    def status(self) -> Object:
        found: Object = self.resource().get("status", {})
        return found

    def condition(self, kind: str) -> Object:
        """Return a condition, or an empty one."""
        found = [condition for condition in self.status().get("conditions", []) if condition["type"] == kind]
        return found[0] if found else {"status": "", "reason": "", "message": ""}

    def find(self, resource: str, role: str = "") -> list[Object]:
        """Return objects of the deployment, of one role or all."""
        more = f",disagg.dev/role={role}" if role else ""
        return self.api.find(resource, self.namespace, self.selector + more)

    def children(self) -> dict[str, list[str]]:
        """Return the names of what the operator made, by resource."""
        return {
            resource: sorted(obj["metadata"]["name"] for obj in self.find(resource)) for resource in OWNED
        }

    def make_ready(self, unless: str = "\0") -> None:
        make_pods_ready(self.api, self.namespace, self.selector, unless, self.address)

    def wait_for(self, kind: str, reason: str, unless: str = "\0") -> None:
        """Wait until a condition has a reason, while pods become ready."""
        eventually(
            lambda: self.condition(kind)["reason"] == reason,
            f"{kind} is {reason}",
            meanwhile=lambda: self.make_ready(unless),
        )


@dataclass
class OperatorProcess:
    """An operator process of its own, told to watch only some namespaces; started by a thread that stays."""

    kubeconfig: Path
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = (str(Path(sys.executable).with_name("disagg-operator")),)
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        (self.port,) = free_ports(1)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("DISAGG_", "POD_"))}
        environment = {
            **kept,
            "KUBECONFIG": str(self.kubeconfig),
            "DISAGG_WORKER_IMAGE": WORKER_IMAGE,
            "DISAGG_LOG_FORMAT": "text",
            "DISAGG_HTTP_HOST": "127.0.0.1",
            "DISAGG_HTTP_PORT": str(self.port),
            **self.environment,
        }
        with self.log.open("ab") as log:
            # It ends with this process, should that be killed.
            bound = ("setpriv", "--pdeathsig", "SIGKILL", "--")
            self.process = subprocess.Popen(
                [*bound, sys.executable, *self.program], env=environment, stderr=log
            )

    def says(self, path: str) -> str:
        """Return what the process answers, or nothing."""
        assert self.process
        assert self.process.poll() is None, self.log.read_text()
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5, trust_env=False)
        except httpx.TransportError:
            return ""
        return answer.text if answer.status_code in ACCEPTED else ""

    def wait_until_leading(self) -> None:
        eventually(
            lambda: "disagg_leader 1.0" in self.says("/metrics"), "the operator leads", 2 * LIMIT_SECONDS
        )
        eventually(lambda: self.says("/readyz"), "the operator is ready")

    def restart_if_ended(self) -> None:
        """STAND-IN for the kubelet: an operator that cannot renew its Lease, on a busy machine, ends."""
        if self.process and self.process.poll() is not None:
            self.start()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(how)
        return self.process.wait(LIMIT_SECONDS)


def writes(audit_log: Path, namespace: str, since: int = 0) -> Counter[str]:
    """Count the writes of operators in a namespace, but for Leases, from an offset of the log."""
    return _requests(audit_log, namespace, since, lambda verb: verb not in READS)


def gets(audit_log: Path, namespace: str, since: int = 0) -> Counter[str]:
    """Count the reads of single objects by operators in a namespace, but for Leases."""
    return _requests(audit_log, namespace, since, lambda verb: verb == "get")


def _requests(audit_log: Path, namespace: str, since: int, counts: Callable[[str], bool]) -> Counter[str]:
    found: Counter[str] = Counter()
    with audit_log.open("rb") as log:
        log.seek(since)
        for line in log:
            entry = json.loads(line)
            reference = entry.get("objectRef", {})
            agent = entry.get("userAgent", "")
            if (
                entry["stage"] == "ResponseComplete"
                and agent.startswith(("disagg-operator/", "kopf/"))
                and counts(entry["verb"])
                and reference.get("namespace") == namespace
                and reference.get("resource") not in {"leases"}
            ):
                found[f"{entry['verb']} {reference['resource']}/{reference.get('subresource', '')}"] += 1
    return found
