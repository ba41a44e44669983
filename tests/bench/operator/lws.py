"""LWS's DisaggregatedSet beside us: built from its source, with its webhooks as its chart has them.

Its roles get the pod templates of our workers. It has no frontend: the script makes the same Deployment that
the floor has, so that all sides have the same pods.
"""

import base64
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from bench.operator.figures import PEER
from bench.operator.parts.creation import Controller
from bench.operator.plane import Plane
from bench.operator.shapes import NAMESPACE, Shape, workloads
from bench.operator.watching import Milestone, condition
from testcluster.console import Progress
from testcluster.errors import ClusterError
from testcluster.paths import default_paths
from testcluster.ports import free_ports
from testcluster.toolchain import Build, ensure_build
from testcluster.waiting import wait_for

Object = dict[str, Any]

USER = "lws-controller-manager"
_NAME = "lws-manager"
_SET_LABEL = "disaggregatedset.x-k8s.io/name"
_READY_SECONDS = 120.0
# config/webhook/mutating-patch.yaml and validating-patch.yaml: its webhooks see no other pods.
_ITS_PODS = {"matchExpressions": [{"key": "leaderworkerset.sigs.k8s.io/name", "operator": "Exists"}]}


class Lws:
    """A script makes DisaggregatedSets and frontends, and LWS the rest."""

    name = PEER

    def objects(self, shape: Shape) -> list[Object]:
        """See `Side`."""
        return [obj for name in shape.names() for obj in _objects(shape, name)]

    def created(self, shape: Shape) -> list[Milestone]:
        """See `Side`: a StatefulSet of leaders for each role, one of workers for each group of several."""
        groups = (shape.prefill + shape.decode) * shape.deployments if shape.nodes > 1 else 0
        sets = Milestone("statefulsets", 2 * shape.deployments + groups, metadata=True)
        frontends = Milestone("deployments", shape.deployments, metadata=True)
        return [sets, frontends, Milestone("pods", shape.pods)]

    def available(self, shape: Shape) -> list[Milestone]:
        """See `Side`."""
        return [
            Milestone("disaggregatedsets", shape.deployments, condition("Available")),
            Milestone("pods", shape.pods, condition("Ready")),
        ]


def build(source: Path) -> Path:
    """Build LWS's manager.

    Args:
        source: a checkout of sigs.k8s.io/lws that has DisaggregatedSet.

    Raises:
        ClusterError: it is none, or the build fails.
    """
    if not (source / "config/crd/bases/disaggregatedset.x-k8s.io_disaggregatedsets.yaml").is_file():
        raise ClusterError(
            f"BENCH_LWS={source} is no source of LWS with DisaggregatedSet",
            remedy="git clone https://github.com/kubernetes-sigs/lws, and name its folder",
        )
    made = Build(
        title="Build LWS",
        module=source.resolve(),
        sources=("cmd", "pkg", "api", "client-go"),
        targets={_NAME: "./cmd"},
    )
    return Path(ensure_build(made, default_paths(), Progress()).path(_NAME))


@contextmanager
def lws(plane: Plane, source: Path, program: Path) -> Iterator[Controller]:
    """Run LWS's manager for a while.

    Args:
        plane: the control plane that it works on.
        source: where its CRDs and webhooks lie.
        program: the manager.
    """
    supervisor = plane.control.supervisor
    port, health = free_ports(2)
    directory = plane.directory / "lws"
    directory.mkdir()
    settings = directory / "config.yaml"
    settings.write_text(yaml.safe_dump(_settings(directory, port, health)), encoding="utf-8")
    served = plane.control.authority.issue("lws-webhook", "lws-webhook", hosts=["127.0.0.1"])
    shutil.copyfile(served.certificate, directory / "tls.crt")
    shutil.copyfile(served.key, directory / "tls.key")
    crds = sorted((source / "config/crd/bases").glob("*.yaml"))
    plane.kubectl.apply([yaml.safe_load(path.read_text(encoding="utf-8")) for path in crds])
    plane.kubectl.await_served("crd/disaggregatedsets.disaggregatedset.x-k8s.io")
    plane.kubectl.await_served("crd/leaderworkersets.leaderworkerset.x-k8s.io")
    credentials = plane.control.credentials("lws", USER, ["system:masters"])
    supervisor.ensure(_NAME, [str(program), f"--kubeconfig={credentials}", f"--config={settings}"])
    try:
        wait_for(supervisor, _NAME, lambda: _listens(port), seconds=_READY_SECONDS)
        authority = plane.control.authority.identity.certificate.read_bytes()
        plane.kubectl.apply(_webhooks(source, f"https://127.0.0.1:{port}", authority))
        pid = supervisor.pid(_NAME)
        if pid is None:
            raise ClusterError("LWS's manager ended", log=supervisor.log(_NAME))
        yield Controller(pid, USER)
    finally:
        supervisor.stop(_NAME)


def _objects(shape: Shape, name: str) -> Iterator[Object]:
    roles: list[Object] = []
    for obj in workloads(shape, name):
        if obj["kind"] == "Deployment":
            yield obj
            continue
        role = obj["metadata"]["labels"]["disagg.dev/role"]
        if role in {each["name"] for each in roles}:
            continue  # each of our groups is a StatefulSet; theirs share a role
        template = obj["spec"]["template"]
        # It keeps apart the pods of one group of ours, and would all pods of a role of theirs.
        template["spec"].pop("affinity", None)
        pattern = {"size": shape.nodes, "leaderTemplate": template, "workerTemplate": template}
        replicas = shape.prefill if role == "prefill" else shape.decode
        roles.append({"name": role, "spec": {"replicas": replicas, "leaderWorkerTemplate": pattern}})
    yield {
        "apiVersion": "disaggregatedset.x-k8s.io/v1",
        "kind": "DisaggregatedSet",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"roles": roles},
    }


def _settings(directory: Path, port: int, health: int) -> Object:
    return {
        "apiVersion": "config.lws.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "metrics": {"bindAddress": "0"},
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "webhook": {"host": "127.0.0.1", "port": port, "certDir": str(directory)},
    }


def _webhooks(source: Path, address: str, authority: bytes) -> list[Object]:
    """Return its webhooks as its chart installs them, but reached at an address instead of by a Service."""
    text = (source / "config/webhook/manifests.yaml").read_text(encoding="utf-8")
    found: list[Object] = [obj for obj in yaml.safe_load_all(text) if obj]
    for obj in found:
        for webhook in obj["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"]
            bundle = base64.b64encode(authority).decode()
            webhook["clientConfig"] = {"url": f"{address}{path}", "caBundle": bundle}
            if any("pods" in rule["resources"] for rule in webhook["rules"]):
                webhook["objectSelector"] = _ITS_PODS
    return found


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
