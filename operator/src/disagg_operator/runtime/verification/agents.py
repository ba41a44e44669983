"""Asks the transport agents beside workers.

Invariants: an agent that does not answer, or answers nonsense, costs a bounded time and becomes a sentence,
never an exception; at most so many are asked at once; nobody is asked but who was meant to be: a redirect is
an answer like any other.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import aiohttp
from pydantic import ValidationError

from disagg_operator.reconcile.verification.verifier import WorkerPod
from disagg_operator.verify.evidence import Evidence

AT_ONCE = 16
LARGEST = 4 << 20
_OK = 200


@dataclass(frozen=True)
class Look:
    """What all agents told at one moment.

    Attributes:
        evidence: by name of the pod.
        failures: why an agent told nothing, by name of the pod.
    """

    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)


class Agents:
    """Asks agents over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, seconds: float) -> None:
        """Make a client.

        Args:
            session: connections.
            seconds: time that an agent has to answer.
        """
        self._session, self._seconds = session, seconds

    async def look(self, workers: Iterable[WorkerPod], port: int) -> Look:
        """Ask the agents of all workers at once.

        Args:
            workers: the pods.
            port: port of the agent in each.
        """
        turns = asyncio.Semaphore(AT_ONCE)

        async def ask(worker: WorkerPod) -> tuple[str, Evidence | str]:
            async with turns:
                return worker.name, await self._ask(url(worker.address, port, "/evidence"))

        told = await asyncio.gather(*(ask(worker) for worker in workers))
        return Look(
            {name: answer for name, answer in told if isinstance(answer, Evidence)},
            {name: answer for name, answer in told if isinstance(answer, str)},
        )

    async def _ask(self, address: str) -> Evidence | str:
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._session.get(address, allow_redirects=False) as response,
            ):
                if response.status != _OK:
                    return f"the agent answers HTTP {response.status}"
                body = await response.content.read(LARGEST + 1)
                while not response.content.at_eof() and len(body) <= LARGEST:
                    body += await response.content.read(LARGEST + 1 - len(body))
        except TimeoutError:
            return f"the agent does not answer within {self._seconds:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"the agent cannot be reached: {error or type(error).__name__}"
        if len(body) > LARGEST:
            return "the agent's answer is too large"
        return understood(body)


def understood(answer: bytes) -> Evidence | str:
    """Return what an agent's answer tells, or the sentence that it is not understood."""
    try:
        return Evidence.model_validate_json(answer)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"the agent's answer is not understood: {place}: {first['msg']}"


def url(address: str, port: int, path: str) -> str:
    """Return a URL of an IP address; one of version 6 stands in brackets."""
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}{path}"
