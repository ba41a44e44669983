"""etcd and NATS for pods of a test cluster: images of the real servers, and volumes to keep data on.

The versions are those that the operator's profiles name; a test compares them.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testcluster.archives import single_program_image
from testcluster.console import Progress
from testcluster.errors import ClusterError
from testcluster.kubectl import Kubectl
from testcluster.paths import default_paths
from testcluster.session import Cluster, open_session
from testcluster.toolchain import ensure_services

PROGRAMS = {"etcd": "etcd", "nats": "nats-server"}
STORAGE_CLASS = "disagg-test-volumes"


def load_services(cluster: Cluster) -> Mapping[str, str]:
    """Load the images of etcd and NATS and return their references by service.

    Args:
        cluster: Where; not one that somebody else made, since images are loaded into it.

    Raises:
        ClusterError: If the cluster is somebody else's, or a build fails.
    """
    if cluster.provider == "existing":
        raise ClusterError(
            "no image can be loaded into a cluster that already exists", remedy="use CLUSTER=kind or local"
        )
    session = open_session(os.environ, Progress())
    programs = ensure_services(session.paths, session.progress)
    folder = session.paths.cache / "images"
    images = [
        single_program_image(name, Path(programs.path(program)), folder) for name, program in PROGRAMS.items()
    ]
    session.provider.load(images)
    return {image.name: image.reference for image in images}


@contextmanager
def volumes(cluster: Cluster, count: int) -> Iterator[str | None]:
    """Have volumes for a while.

    Args:
        cluster: Where.
        count: How many volumes, where the cluster makes none by itself.

    Yields:
        The StorageClass to ask for; None for the default one, which kind has and the embedded cluster lacks.
    """
    if cluster.provider != "local":
        yield None
        return
    kubectl = Kubectl(cluster.programs.kubectl, cluster.kubeconfig)
    (node,) = [each["metadata"]["name"] for each in kubectl.json("get", "nodes")["items"]]
    root = default_paths().state / "volumes"
    found = [_volume(f"{STORAGE_CLASS}-{number}", root / str(number), node) for number in range(count)]
    names = [each["metadata"]["name"] for each in found]
    delete = ("delete", "persistentvolume", *names, "--ignore-not-found")
    # A run that was killed leaves volumes that are another claim's for ever, with its data.
    kubectl.text(*delete)
    shutil.rmtree(root, ignore_errors=True)
    for number in range(count):
        (root / str(number)).mkdir(parents=True)
    kubectl.apply(found)
    try:
        yield STORAGE_CLASS
    finally:
        kubectl.text(*delete)
        shutil.rmtree(root)


def _volume(name: str, folder: Path, node: str) -> dict[str, Any]:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
