"""Asks the transport agents beside workers, through the API server's proxy to pods.

Invariant: an agent that cannot be asked costs a bounded time and becomes a sentence, never an exception.
"""

import asyncio
from collections.abc import Iterable
from urllib.parse import quote

from disagg_operator.build.agent import AGENT
from disagg_operator.cli.live.connection import Connection, RefusedError, told
from disagg_operator.cli.live.patiently import patiently
from disagg_operator.cli.terminal import UserError
from disagg_operator.reconcile.kinds import Object
from disagg_operator.runtime.verification.agents import AT_ONCE, LARGEST, understood
from disagg_operator.verify.evidence import Evidence

_SECONDS = 5.0


async def evidence(connection: Connection, pods: Iterable[Object]) -> dict[str, Evidence | str]:
    """Return what the agents of pods tell, or why they do not, by name of the pod.

    Args:
        connection: the cluster.
        pods: pods; those without an agent are passed over.
    """
    told_by = await documents(connection, pods)
    return {
        name: str(answer) if isinstance(answer, UserError) else understood(answer)
        for name, answer in told_by.items()
    }


async def documents(connection: Connection, pods: Iterable[Object]) -> dict[str, bytes | UserError]:
    """Return what agents answer, as it is, or why they do not, by name of the pod."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def ask(pod: Object, port: int) -> tuple[str, bytes | UserError]:
        name = str(pod["metadata"]["name"])
        async with turns:
            try:
                return name, await patiently(lambda: _ask(connection, pod, port))
            except UserError as error:
                return name, error

    asked = [ask(pod, port) for pod in pods if (port := agent_port(pod)) is not None]
    return dict(await asyncio.gather(*asked))


def agent_port(pod: Object) -> int | None:
    """Return the port of a pod's agent, or None where it has none."""
    spec = pod.get("spec", {})
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        if container["name"] == AGENT and container.get("ports"):
            return int(container["ports"][0]["containerPort"])
    return None


async def _ask(connection: Connection, pod: Object, port: int) -> bytes:
    metadata = pod["metadata"]
    where = f"/api/v1/namespaces/{quote(metadata['namespace'])}/pods/{quote(metadata['name'])}:{port}"
    answer = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            with told(connection, "get", "pods/proxy", metadata["name"]):
                request = connection.cluster.opened("get", "pods/proxy", f"{where}/proxy/evidence")
                async with request as chunks:
                    async for chunk in chunks:
                        answer += chunk
                        if len(answer) > LARGEST:
                            raise UserError("the agent's answer is too large")
    except TimeoutError:
        raise UserError(
            f"the agent does not answer the API server within {_SECONDS:g} s: a NetworkPolicy may keep it "
            "out (docs/network.md)"
        ) from None
    except RefusedError as error:
        message = f"the agent cannot be asked: {error}"
        raise RefusedError(message, error.code, error.retry_after) from None
    return bytes(answer)
