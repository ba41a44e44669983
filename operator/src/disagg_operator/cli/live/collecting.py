"""Collects from a cluster what tells how a deployment is.

Invariants: Secrets are never asked for; what may not be read is told, and the rest is collected all the same.
"""

import asyncio
from collections.abc import Awaitable
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, TypeVar

from disagg_operator.api.wording import counted
from disagg_operator.cli.doctor.collected import OPERATORS, Cause, Collected, Unread
from disagg_operator.cli.doctor.findings import event_time
from disagg_operator.cli.doctor.last_lines import LastLines
from disagg_operator.cli.live.agents import documents
from disagg_operator.cli.live.asking import deployment
from disagg_operator.cli.live.children import children, listed
from disagg_operator.cli.live.connection import Connection, RefusedError, told
from disagg_operator.cli.live.patiently import patiently
from disagg_operator.cli.live.pod_logs import Extent, lines
from disagg_operator.cli.live.rollouts import instances_of, revisions_of
from disagg_operator.cli.steps import Teller
from disagg_operator.cli.terminal import UserError
from disagg_operator.plan.names import LABEL_APP, MANAGER
from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.reconcile.kinds import COMPUTE_DOMAIN, DEPLOYMENT, NODE, OWNED, POD, STATEFUL_SET, Object
from disagg_operator.reconcile.observe import container_statuses
from disagg_operator.runtime.events import EVENT

T = TypeVar("T")
_AT_ONCE = 8
_MOST_BYTES = 4 << 20
"""Of one log."""
_NO_SUCH_LOG = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)
"""The pod is gone, its container has not run yet, or its run before is forgotten."""


async def collect(connection: Connection, name: str, tail: int, teller: Teller) -> Collected:
    """Return all that can be read of a deployment.

    Args:
        connection: the cluster.
        name: name of the deployment.
        tail: how many of the last lines of each log.
        teller: is told what is read.

    Raises:
        UserError: the deployment itself cannot be read.
    """
    return await _Collector(connection, name, teller).collect(tail)


class _Collector:
    """Collects of one deployment, and notes what it may not read."""

    def __init__(self, connection: Connection, name: str, teller: Teller) -> None:
        self._connection, self._name, self._teller = connection, name, teller
        self._unread: dict[str, Unread] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def collect(self, tail: int) -> Collected:
        resource = await deployment(self._connection, self._name)
        self._teller.say("reading what the operator made, and its pods")
        objects = [obj for kind in await self._kinds() for obj in await self._children(kind)]
        pods = [obj for obj in objects if obj["kind"] == POD.kind]
        sets = [obj for obj in objects if obj["kind"] == STATEFUL_SET.kind]
        self._teller.say("reading Events, nodes and versions")
        events = await self._events([resource, *objects])
        nodes = await self._nodes(pods)
        operators = await self._operators()
        versions = await self._versions(pods, operators)
        self._teller.say(f"asking the agents of {counted(len(pods), 'pod')}, and reading their logs")
        agents = await self._agents(pods)
        logs = await self._logs(pods, tail)
        return Collected(
            resource,
            [obj for obj in objects if obj["kind"] != POD.kind],
            pods,
            instances_of(revisions_of([*sets, *pods])),
            events,
            agents,
            logs,
            nodes,
            operators,
            versions,
            self._unread,
        )

    async def _read(self, what: str, work: Awaitable[T], otherwise: T, *, all_of_them: str = "") -> T:
        try:
            return await work
        except UserError as error:
            self._note(what, error, all_of_them)
            return otherwise

    def _note(self, what: str, error: UserError, all_of_them: str = "") -> None:
        """Note what was not read; who may not read one of them may read none."""
        if isinstance(error, RefusedError) and error.code == HTTPStatus.FORBIDDEN:
            self._unread.setdefault(all_of_them or what, Unread(str(error), Cause.FORBIDDEN))
        else:
            self._unread[what] = Unread(str(error), Cause.FAILED)

    async def _kinds(self) -> list[Any]:
        with_domains = False
        try:
            with_domains = await self._connection.cluster.serves(COMPUTE_DOMAIN)
        except ClusterError as error:
            self._unread["ComputeDomains"] = Unread(str(error), Cause.FAILED)
        return [*OWNED, POD, *([COMPUTE_DOMAIN] if with_domains else [])]

    async def _children(self, kind: Any) -> list[Object]:
        return await self._read(f"{kind}s", children(self._connection, kind, self._name), [])

    async def _events(self, objects: list[Object]) -> list[Object]:
        wanted = {obj["metadata"].get("uid") for obj in objects}
        place = self._connection.namespace
        found = await self._read("Events", listed(self._connection, EVENT, place), [])
        about = [event for event in found if event.get("regarding", {}).get("uid") in wanted]
        return sorted(about, key=event_time)

    async def _nodes(self, pods: list[Object]) -> list[Object]:
        found = []
        for name in sorted({pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")}):
            node = await self._read(f"node {name}", self._node(name), None, all_of_them="nodes")
            found += [] if node is None else [node]
        return found

    async def _node(self, name: str) -> Object | None:
        with told(self._connection, "get", NODE, name):
            return await self._connection.cluster.get(NODE, "", name)

    async def _operators(self) -> list[Object]:
        work = listed(self._connection, DEPLOYMENT, None, f"{LABEL_APP}={MANAGER}")
        return await self._read(OPERATORS, work, [])

    async def _versions(self, pods: list[Object], operators: list[Object]) -> dict[str, Any]:
        return {
            "plugin": version("disagg-operator"),
            "kubernetes": await self._read("version of Kubernetes", self._kubernetes(), None),
            "operators": {
                f"{each['metadata']['namespace']}/{each['metadata']['name']}": _images(
                    each["spec"]["template"]
                )
                for each in operators
            },
            "images": sorted({image for pod in pods for image in _images(pod)}),
        }

    async def _kubernetes(self) -> str | None:
        answer = b""
        with told(self._connection, "get", "version"):
            async with self._connection.cluster.opened("get", "version", "/version") as chunks:
                async for chunk in chunks:
                    answer += chunk
        return answer.decode(errors="replace")

    async def _agents(self, pods: list[Object]) -> dict[str, bytes | str]:
        found: dict[str, bytes | str] = {}
        for pod, answer in (await documents(self._connection, pods)).items():
            if isinstance(answer, RefusedError) and answer.code == HTTPStatus.FORBIDDEN:
                self._note(f"agent of {pod}", answer, "agents")
            else:
                found[pod] = answer if isinstance(answer, bytes) else str(answer)
        return found

    async def _logs(self, pods: list[Object], tail: int) -> dict[str, str]:
        wanted = [
            (pod["metadata"]["name"], status["name"], previous)
            for pod in pods
            for status in _statuses(pod)
            for previous in ([False, True] if status.get("restartCount") else [False])
        ]

        async def read(pod: str, container: str, previous: bool) -> tuple[str, str]:
            path = f"{pod}/{container}{'.previous' if previous else ''}.log"
            extent = Extent(tail=tail, previous=previous, stamped=True)
            async with self._turns:
                return path, await self._log(f"log {path}", pod, container, extent)

        found = await asyncio.gather(*(read(*each) for each in wanted))
        return {path: text for path, text in found if text}

    async def _log(self, what: str, pod: str, container: str, extent: Extent) -> str:
        """Return the end of a log: where it breaks off, what came until then."""
        kept = LastLines(_MOST_BYTES)

        async def read() -> None:
            async for line in lines(self._connection, pod, container, extent):
                kept.add(line)

        try:
            await patiently(read)
        except RefusedError as error:
            if error.code in _NO_SUCH_LOG:
                self._unread[what] = Unread(str(error), Cause.HARMLESS)
            else:
                self._note(what, error, "logs")
        if kept.dropped:
            dropped = counted(kept.dropped, "line")
            why = f"only its last {_MOST_BYTES >> 20} MiB are kept; {dropped} before left out"
            self._unread.setdefault(what, Unread(why, Cause.HARMLESS))
        return kept.text()


def _statuses(pod: Object) -> list[Object]:
    """Return the containers of a pod that have run."""
    found = container_statuses(pod)
    return [each for each in found if "waiting" not in each.get("state", {}) or each.get("restartCount")]


def _images(pod: Object) -> list[str]:
    spec = pod["spec"]
    return sorted(
        {
            each["image"]
            for each in [*spec.get("initContainers", []), *spec.get("containers", [])]
            if "image" in each
        }
    )
