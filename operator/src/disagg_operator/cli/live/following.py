"""Reads the logs of all pods of a deployment, and follows them through restarts and rollouts."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from disagg_operator.cli.live.asking import deployment
from disagg_operator.cli.live.children import listed
from disagg_operator.cli.live.connection import Connection
from disagg_operator.cli.live.pod_logs import Extent, lines
from disagg_operator.cli.log_lines import Position
from disagg_operator.cli.terminal import UserError
from disagg_operator.plan import names
from disagg_operator.reconcile.kinds import POD, Object

_LOOK_SECONDS = 3.0


@dataclass(frozen=True)
class Audience:
    """Who is told.

    Attributes:
        tell: is given the name of a pod and a line of its log.
        warn: is given why the log of a pod cannot be read.
    """

    tell: Callable[[str, str], None]
    warn: Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """Whose logs are read.

    Attributes:
        deployment: name of the DisaggDeployment.
        role: prefill, decode or frontend, or nothing for all.
        container: name of the container, or nothing for the one that serves.
        extent: how much of each.
    """

    deployment: str
    role: str
    container: str
    extent: Extent


async def read(connection: Connection, wish: Wish, audience: Audience) -> None:
    """Tell the logs of all pods, one after the other, or as they come until cancelled.

    Args:
        connection: the cluster.
        wish: whose logs.
        audience: who is told.

    Raises:
        UserError: there is no such deployment, pod or container.
    """
    await deployment(connection, wish.deployment)
    pods = await _pods(connection, wish)
    chosen = _chosen(pods, wish)
    if not wish.extent.follow:
        refused = 0
        for name, container in chosen:
            try:
                async for line in lines(connection, name, container, wish.extent):
                    audience.tell(name, line)
            except UserError as error:
                refused += 1
                audience.warn(f"{name}: {error}")
        if refused == len(chosen):
            raise UserError(f"no log could be read; see `kubectl disagg status {wish.deployment}`.")
        return
    await _follow(connection, wish, audience, chosen)


async def _follow(
    connection: Connection,
    wish: Wish,
    audience: Audience,
    chosen: Sequence[tuple[str, str]],
) -> None:
    """Follow all pods, and those that come later from their beginning."""
    tasks: dict[str, asyncio.Task[None]] = {}
    extent = wish.extent
    try:
        while True:
            for name, container in chosen:
                if name not in tasks:
                    one = _Follower(connection, name, container, extent, audience)
                    tasks[name] = asyncio.create_task(one.run())
            extent = Extent(follow=True)
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                pods = await _pods(connection, wish)
            except UserError as error:
                audience.warn(str(error))
                continue
            with suppress(UserError):  # no pod now: a rollout, or scaled to zero
                chosen = _chosen(pods, wish)
            for name in tasks.keys() - {pod["metadata"]["name"] for pod in pods}:
                # One of the same name may come again, and is another pod.
                if tasks[name].done():
                    del tasks[name]
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


class _Follower:
    """Follows one container, whatever becomes of the connection, until its pod is gone."""

    def __init__(
        self, connection: Connection, pod: str, container: str, extent: Extent, audience: Audience
    ) -> None:
        self._connection, self._pod, self._container = connection, pod, container
        self._extent, self._audience = replace(extent, stamped=True), audience
        self._position, self._complaint = Position(), ""

    async def run(self) -> None:
        """Tell each line once."""
        while True:
            since = self._position.go_on()
            extent = (
                replace(self._extent, since=since, since_seconds=None, tail=None) if since else self._extent
            )
            try:
                async for stamped in lines(self._connection, self._pod, self._container, extent):
                    line = self._position.read(stamped)
                    if line is not None:
                        self._audience.tell(self._pod, line)
                self._complaint = ""
            except UserError as error:
                if f"there is no pods/log {self._pod}" in str(error):
                    return
                if str(error) != self._complaint:  # once, and not every few seconds
                    self._complaint = str(error)
                    self._audience.warn(f"{self._pod}: {error}")
            await asyncio.sleep(_LOOK_SECONDS)


async def _pods(connection: Connection, wish: Wish) -> list[Object]:
    labels = {names.LABEL_DEPLOYMENT: wish.deployment}
    if wish.role:
        labels = names.selector(wish.deployment, wish.role)
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    found = await listed(connection, POD, connection.namespace, selector)
    return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))


def _chosen(pods: Sequence[Object], wish: Wish) -> list[tuple[str, str]]:
    """Return names of pods and containers whose logs are meant.

    Raises:
        UserError: there is none.
    """
    of = f"{wish.role} pod" if wish.role else "pod"
    if not pods:
        raise UserError(
            f"{wish.deployment} has no {of}: `kubectl disagg status {wish.deployment}` says what it waits "
            "for."
        )
    if not wish.container:
        return [(pod["metadata"]["name"], pod["spec"]["containers"][0]["name"]) for pod in pods]
    found = [(pod["metadata"]["name"], wish.container) for pod in pods if wish.container in _containers(pod)]
    if not found:
        there = sorted({name for pod in pods for name in _containers(pod)})
        raise UserError(f"no {of} has a container {wish.container}; there are: {', '.join(there)}.")
    return found


def _containers(pod: Object) -> list[str]:
    spec = pod["spec"]
    return [each["name"] for each in [*spec.get("initContainers", []), *spec["containers"]]]
