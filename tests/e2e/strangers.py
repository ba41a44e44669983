"""Pods that are no part of a deployment, and what they reach of it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from e2e.cluster_client import Kubectl
from e2e.installation import UNPRIVILEGED

_REACH = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def reaches(place):
    address, _, port = place.rpartition(":")
    try:
        socket.create_connection((address, int(port)), 3).close()
    except OSError:
        return False
    return True
with ThreadPoolExecutor(64) as pool:
    print(json.dumps(dict(zip(sys.argv[1:], pool.map(reaches, sys.argv[1:])))))
"""
_LISTENING = """
import json, pathlib
found = set()
for name in ("tcp", "tcp6"):
    for line in pathlib.Path("/proc/net", name).read_text().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        address, _, port = local.partition(":")
        if state == "0A" and not address.endswith(("0100007F", "0000000001000000")):
            found.add(int(port, 16))
print(json.dumps(sorted(found)))
"""
_LISTEN = """
import os, socket, sys, time
sockets = [socket.create_server(("", int(port)), backlog=64) for port in sys.argv[1:]]
if os.fork():
    os._exit(0)
os.setsid()
for stream in (0, 1, 2):
    os.close(stream)
time.sleep(86400)  # the kernel takes connections up to the backlog
"""


@dataclass(frozen=True)
class Stranger:
    """A pod that only waits.

    Attributes:
        kubectl: the cluster.
        namespace: its namespace.
        name: its name.
    """

    kubectl: Kubectl
    namespace: str
    name: str

    def start(self, image: str, labels: Mapping[str, str]) -> None:
        """Make it and wait until it runs."""
        container = {
            "name": "stranger",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-c", "import time; time.sleep(86400)"],
            "securityContext": {**UNPRIVILEGED, "runAsUser": 65532},
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "labels": dict(labels)},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
        }
        self.kubectl.apply_to(self.namespace, pod)
        self.kubectl("wait", "pod", self.name, *self._where, "--for=condition=Ready", "--timeout=90s")

    def end(self) -> None:
        """Delete it."""
        self.kubectl("delete", "pod", self.name, *self._where, "--ignore-not-found")

    def reached(self, places: Iterable[str]) -> set[str]:
        """Return which of some places, each ``address:port``, take a connection."""
        run = ("exec", self.name, *self._where, "--", "python3", "-c", _REACH, *sorted(places))
        found: dict[str, bool] = json.loads(self.kubectl(*run))
        return {place for place, reached in found.items() if reached}

    @property
    def _where(self) -> tuple[str, ...]:
        return (f"--namespace={self.namespace}",)


def listening(kubectl: Kubectl, namespace: str, pod: str, container: str) -> set[int]:
    """Return the ports on which a pod listens for others, by what its kernel says."""
    run = ("exec", pod, f"--namespace={namespace}", f"--container={container}", "--")
    return set(json.loads(kubectl(*run, "python3", "-c", _LISTENING)))


def listen_too(kubectl: Kubectl, namespace: str, pod: str, container: str, ports: Iterable[int]) -> None:
    """Have a process in a pod listen on further ports, in place of one that no pod here has."""
    run = ("exec", pod, f"--namespace={namespace}", f"--container={container}", "--")
    kubectl(*run, "python3", "-c", _LISTEN, *map(str, ports))
