"""Which prefill and which decode worker served each request, as the decode workers' logs tell.

A decode worker logs from which prefill worker it read each request's KV cache, and pods are called after
their revision. Logs go with their pod, so that they are followed from its start.
"""

import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e.cluster_client import KubectlError
from e2e.deployments import Deployment

_READ = re.compile(r"request \S+: KV read from (\S+)")
_REVISION = re.compile(r"-(?:prefill|decode)-([0-9a-f]{8})-")

Pair = tuple[str, str]


@dataclass
class Pairs:
    """Logs that are being followed, a file for each decode pod.

    Attributes:
        folder: where the files are.
        followed: the processes that write them, by pod.
    """

    folder: Path
    followed: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def counted(self) -> Counter[Pair]:
        """Return how many requests each pair of revisions served: of the prefill and of the decode worker."""
        found: Counter[Pair] = Counter()
        for pod in self.followed:
            text = (self.folder / pod).read_text(errors="replace")
            found.update((_revision(peer), _revision(pod)) for peer in _READ.findall(text))
        return found

    def follow(self, deployment: Deployment) -> None:
        """Follow the logs of the decode pods that are not yet followed."""
        for pod in deployment.pods("decode"):
            name = pod["metadata"]["name"]
            running = pod.get("status", {}).get("containerStatuses", [{}])[0].get("state", {})
            if name in self.followed or "running" not in running:
                continue
            argv = deployment.kubectl.argv(
                *("logs", "--follow", name, f"--namespace={deployment.namespace}", "--container=worker")
            )
            with (self.folder / name).open("wb") as log:
                self.followed[name] = subprocess.Popen(argv, stdout=log, stderr=subprocess.DEVNULL)


@contextmanager
def served_pairs(deployment: Deployment, folder: Path) -> Iterator[Pairs]:
    """Follow the logs of all decode pods of a deployment while the block runs.

    Args:
        deployment: the deployment.
        folder: where logs are kept.
    """
    pairs, ended = Pairs(folder), threading.Event()
    pairs.follow(deployment)

    def follow_on() -> None:
        while not ended.wait(1.0):
            try:
                pairs.follow(deployment)
            except KubectlError:  # the API server is busy: the next look finds what this one missed
                continue

    watcher = threading.Thread(target=follow_on, name="served-pairs")
    watcher.start()
    try:
        yield pairs
    finally:
        ended.set()
        watcher.join()
        for process in pairs.followed.values():
            process.terminate()
            process.wait()


def _revision(pod: str) -> str:
    found = _REVISION.search(pod)
    assert found, f"the name {pod} tells no revision"
    return found[1]
