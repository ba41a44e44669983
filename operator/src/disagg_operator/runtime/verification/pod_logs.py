"""Reads what engines logged about transport.

The start of a log has the lines in which libraries name what they take; its end has the tables of the last
transfers. Invariant: a log that cannot be read becomes a sentence; evidence is made of what is left.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.reconcile.verification.verifier import WorkerPod

HEAD_BYTES = 512 << 10
TAIL_LINES = 2000
TAIL_BYTES = 1 << 20
MOST_PODS = 8
AT_ONCE = 4


class LogSource(Protocol):
    """Where logs come from; see `kube.KubeCluster`."""

    async def log(
        self, namespace: str, pod: str, container: str, *, most_bytes: int, tail_lines: int | None = None
    ) -> str:
        """Return the log of a container from its start, or its last lines.

        Raises:
            ClusterError: there is none, or it may not be read.
        """
        ...


class PodLogs:
    """Reads the logs of workers."""

    def __init__(self, source: LogSource) -> None:
        """Make a reader.

        Args:
            source: where logs come from.
        """
        self._source = source

    async def read(self, namespace: str, workers: Iterable[WorkerPod]) -> tuple[Mapping[str, str], list[str]]:
        """Return the logs by name of the pod, and a sentence for each that could not be read.

        Args:
            namespace: of the pods.
            workers: whose log; the first 8 are read.
        """
        turns = asyncio.Semaphore(AT_ONCE)

        async def of(worker: WorkerPod) -> tuple[str, str | ClusterError]:
            async with turns:
                return worker.name, await self._of(namespace, worker)

        told = await asyncio.gather(*(of(worker) for worker in list(workers)[:MOST_PODS]))
        logs = {name: answer for name, answer in told if isinstance(answer, str)}
        failures = [
            f"the log of {name} cannot be read: {answer}"
            for name, answer in told
            if not isinstance(answer, str)
        ]
        return logs, failures

    async def _of(self, namespace: str, worker: WorkerPod) -> str | ClusterError:
        try:
            head = await self._source.log(namespace, worker.name, worker.container, most_bytes=HEAD_BYTES)
            if len(head.encode()) < HEAD_BYTES:
                return head
            tail = await self._source.log(
                namespace, worker.name, worker.container, most_bytes=TAIL_BYTES, tail_lines=TAIL_LINES
            )
        except ClusterError as error:
            return error
        return f"{head}\n{tail}"
