"""Devices without hardware on the nodes of a test cluster: a real device plugin that offers names.

The plugin runs in pods, as those of EFA and NVIDIA do, so that it works wherever an image can be loaded.
Invariant: what it leaves on a node are sockets whose names begin with `fakedevices-`, and what the kubelet
itself writes down about devices.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testcluster.archives import single_program_image
from testcluster.console import Progress
from testcluster.errors import ClusterError
from testcluster.kubectl import Kubectl
from testcluster.paths import Paths
from testcluster.providers.base import Image
from testcluster.session import Cluster, open_session
from testcluster.toolchain import ensure_platform_parts
from testcluster.waiting import until

PLUGIN = "fakedevices"
NAMESPACE = "fake-devices"
FOLDER = "/var/lib/kubelet/device-plugins"
# A kubelet reports what it has every 10 s.
REPORT_SECONDS = 40.0


@contextmanager
def extended_resources(cluster: Cluster, devices: Mapping[str, int]) -> Iterator[None]:
    """Have every node of the test cluster offer extended resources for a while. SIMULATED: no device exists.

    A container that is given devices finds their names, joined by commas, in a variable such as
    `FAKE_DEVICES_VPC_AMAZONAWS_COM_EFA`, and for EFA and GPUs device files by the usual names. After the
    block each node offers none, which its kubelet shows as 0.

    Args:
        cluster: Where; not one that somebody else made, since the plugin's image is loaded into it.
        devices: How many by resource, such as `{"vpc.amazonaws.com/efa": 8}`.

    Raises:
        ClusterError: If the cluster is somebody else's, or the nodes do not offer the devices in time.
    """
    if cluster.provider == "existing":
        raise ClusterError(
            "no image can be loaded into a cluster that already exists", remedy="use CLUSTER=kind or local"
        )
    session = open_session(os.environ, Progress())
    image = _image(session.paths)
    session.provider.load([image])
    kubectl = Kubectl(cluster.programs.kubectl, cluster.kubeconfig)
    kubectl.apply(plugin_objects(image.reference, devices))
    try:
        _wait_until_offered(kubectl, devices)
        yield
    finally:
        # First the pods, which take their sockets along; what holds the namespace up is not our concern.
        kubectl.text("delete", "daemonset", PLUGIN, f"--namespace={NAMESPACE}", "--cascade=foreground")
        kubectl.text("delete", "namespace", NAMESPACE, "--wait=false")
        _wait_until_offered(kubectl, dict.fromkeys(devices, 0))


def plugin_objects(image: str, devices: Mapping[str, int]) -> list[dict[str, Any]]:
    """The plugin's DaemonSet, and a namespace that admits pods which mount the kubelet's folder.

    Args:
        image: Reference of its image, which the nodes hold.
        devices: How many by resource.
    """
    labels = {"app": PLUGIN}
    container = {
        "name": PLUGIN,
        "image": image,
        "imagePullPolicy": "Never",
        "args": [f"{resource}={count}" for resource, count in devices.items()],
        # Only root may make a socket in the kubelet's folder.
        "securityContext": {"runAsUser": 0},
        "volumeMounts": [{"name": "plugins", "mountPath": FOLDER}],
    }
    pod = {
        "containers": [container],
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 5,
        "volumes": [{"name": "plugins", "hostPath": {"path": FOLDER, "type": "Directory"}}],
    }
    admitted = {"pod-security.kubernetes.io/enforce": "privileged"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": admitted}},
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": PLUGIN, "namespace": NAMESPACE},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]


def _image(paths: Paths) -> Image:
    """The image of the plugin: the one static program."""
    program = Path(ensure_platform_parts(paths, Progress()).path(PLUGIN))
    return single_program_image(PLUGIN, program, paths.cache / "images")


def _wait_until_offered(kubectl: Kubectl, devices: Mapping[str, int]) -> None:
    wanted = {resource: str(count) for resource, count in devices.items()}

    def offered() -> bool:
        nodes = kubectl.json("get", "nodes")["items"]
        return all(wanted.items() <= node["status"]["allocatable"].items() for node in nodes)

    until(offered, f"the nodes do not offer {wanted}", seconds=REPORT_SECONDS)
