"""Reads the logs of all pods of a deployment, and follows them through restarts and rollouts."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from disagg_operator.cli.live.asking import deployment
from disagg_operator.cli.live.children import listed
from disagg_operator.cli.live.connection import Connection, RefusedError
from disagg_operator.cli.live.pod_logs import Extent, lines
from disagg_operator.cli.log_lines import Position
from disagg_operator.cli.terminal import UserError
from disagg_operator.plan import names
from disagg_operator.reconcile.kinds import POD, Object
from disagg_operator.reconcile.reporting.ends import last_end

_LOOK_SECONDS = 3.0
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


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
    chosen = _chosen(connection, pods, wish)
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
            raise UserError(f"no log could be read; see {_otherwise(connection, pods, wish)}.")
        return
    await _follow(connection, wish, audience, chosen)


async def _follow(
    connection: Connection,
    wish: Wish,
    audience: Audience,
    chosen: Sequence[tuple[str, str]],
) -> None:
    """Follow all pods, and those that come later from their beginning.

    Whatever ends a follower but its pod's end, such as an output that nobody reads any more, ends all.
    """
    followers: dict[str, _Follower] = {}
    extent, trouble = wish.extent, _Trouble(audience.warn)
    try:
        async with asyncio.TaskGroup() as group:
            while True:
                for name, container in chosen:
                    if name not in followers:
                        followers[name] = _Follower(connection, name, container, extent, audience)
                    followers[name].start(group)
                extent = Extent(follow=True)
                await asyncio.sleep(_LOOK_SECONDS)
                try:
                    pods = await _pods(connection, wish)
                except UserError as error:
                    trouble.tell(str(error))
                    continue
                trouble.over()
                try:
                    chosen = _chosen(connection, pods, wish)
                except UserError:  # no pod now: a rollout, or scaled to zero
                    chosen = []
                for name in followers.keys() - {pod["metadata"]["name"] for pod in pods}:
                    if followers[name].is_done():
                        del followers[name]
    except ExceptionGroup as found:
        raise found.exceptions[0] from None


class _Trouble:
    """Warns once of what goes wrong again and again."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn, self._last = warn, ""

    def tell(self, message: str) -> None:
        """Warn, unless the last message was the same but for its numbers, which may count down."""
        kind = _NUMBER.sub("", message)
        if kind != self._last:
            self._last = kind
            self._warn(message)

    def over(self) -> None:
        """Note that all is well again."""
        self._last = ""


class _Follower:
    """Follows one container, whatever becomes of the connection, until its pod is gone.

    A pod may come again under its name, which then is followed on: no line of before is told anew.
    """

    def __init__(
        self, connection: Connection, pod: str, container: str, extent: Extent, audience: Audience
    ) -> None:
        self._connection, self._pod, self._container = connection, pod, container
        self._extent, self._tell = replace(extent, stamped=True), audience.tell
        self._trouble = _Trouble(lambda message: audience.warn(f"{pod}: {message}"))
        self._position = Position()
        self._task: asyncio.Task[None] | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin to follow, or go on where the pod was gone and is there again."""
        if self.is_done():
            self._task = group.create_task(self._run())

    def is_done(self) -> bool:
        """Tell whether nothing is followed now."""
        return self._task is None or self._task.done()

    async def _run(self) -> None:
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
                        self._tell(self._pod, line)
                self._trouble.over()
            except RefusedError as error:
                if error.code == HTTPStatus.NOT_FOUND:
                    return
                self._trouble.tell(str(error))
            await asyncio.sleep(_LOOK_SECONDS)


async def _pods(connection: Connection, wish: Wish) -> list[Object]:
    labels = {names.LABEL_DEPLOYMENT: wish.deployment}
    if wish.role:
        labels = names.selector(wish.deployment, wish.role)
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    found = await listed(connection, POD, connection.namespace, selector)
    return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))


def _chosen(connection: Connection, pods: Sequence[Object], wish: Wish) -> list[tuple[str, str]]:
    """Return names of pods and containers whose logs are meant.

    Raises:
        UserError: there is none.
    """
    of = f"{wish.role} pod" if wish.role else "pod"
    if not pods:
        raise UserError(f"{wish.deployment} has no {of}: {_status(connection, wish)} says what it waits for.")
    if not wish.container:
        return [(pod["metadata"]["name"], pod["spec"]["containers"][0]["name"]) for pod in pods]
    found = [(pod["metadata"]["name"], wish.container) for pod in pods if wish.container in _containers(pod)]
    if not found:
        there = sorted({name for pod in pods for name in _containers(pod)})
        raise UserError(f"no {of} has a container {wish.container}; there are: {', '.join(there)}.")
    return found


def _status(connection: Connection, wish: Wish) -> str:
    return f"`kubectl disagg status {wish.deployment} --namespace {connection.namespace}`"


def _otherwise(connection: Connection, pods: Sequence[Object], wish: Wish) -> str:
    """Return the command that tells more: of the log of the init container that fails, where one does."""
    failed = next((name for pod in pods if (name := _failed_init(pod))), "")
    if wish.container or not failed:
        return _status(connection, wish)
    role = f" --role {wish.role}" if wish.role else ""
    command = f"kubectl disagg logs {wish.deployment}{role} --container {failed}"
    return f"what comes first and fails: `{command} --namespace {connection.namespace}`"


def _failed_init(pod: Object) -> str:
    """Return the init container that last ended with a failure, before which no engine starts, or nothing."""
    for each in pod.get("status", {}).get("initContainerStatuses", []):
        if not each.get("ready") and (last_end(each) or {}).get("exitCode"):
            return str(each["name"])
    return ""


def _containers(pod: Object) -> list[str]:
    spec = pod["spec"]
    return [each["name"] for each in [*spec.get("initContainers", []), *spec["containers"]]]
