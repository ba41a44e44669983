"""Requests at a rate, to workers of one kind or another: who answers what, and when."""

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("serving_worker.py")
_LINE_BYTES = 64 << 20
_WAIT_SECONDS = 300.0


@dataclass(frozen=True)
class Request:
    """What one client asks for.

    Attributes:
        at: When, in seconds from the beginning.
        tokens: The prompt.
        answer: Tokens to generate.
    """

    at: float
    tokens: tuple[int, ...]
    answer: int


@dataclass(frozen=True)
class Answered:
    """What one client got.

    Attributes:
        sent: When the request was due (monotonic seconds).
        times: When each token was given out, on the same clock.
        tokens: The tokens.
        handed: When prefill had computed the prompt; None without prefill.
    """

    sent: float
    times: tuple[float, ...]
    tokens: tuple[int, ...]
    handed: float | None = None


def requests(rate: float, count: int, prompt: int, answer: int, seed: int = 1) -> list[Request]:
    """Draw requests that arrive at random (Poisson), `rate` a second, with prompts that share nothing."""
    draw = random.Random(f"{seed} {rate}")  # noqa: S311 - repeatable, not secret
    at, drawn = 0.0, []
    for _ in range(count):
        at += draw.expovariate(rate)
        drawn.append(Request(at, tuple(draw.randrange(100, 40_000) for _ in range(prompt)), answer))
    return drawn


class Worker:
    """A worker's process.

    Args:
        process: It.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._listener = asyncio.create_task(self._listen())
        self._ready = asyncio.get_running_loop().create_future()
        self._waiting["ready"] = self._ready

    async def ready(self) -> None:
        """Wait until it takes requests."""
        await asyncio.wait_for(self._ready, _WAIT_SECONDS)

    async def ask(self, name: str, line: Any) -> dict[str, Any]:
        """Send a line and wait for the answer that bears this name."""
        assert self._process.stdin
        answer = self._waiting[name] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        found: dict[str, Any] = await asyncio.wait_for(answer, _WAIT_SECONDS)
        if "error" in found:
            raise RuntimeError(f"request {name} failed: {found['error']}")
        return found

    async def _listen(self) -> None:
        assert self._process.stdout
        async for text in self._process.stdout:
            if text.startswith(b"{"):  # NIXL writes lines of its own
                line = json.loads(text)
                self._waiting.pop(line.get("id", "ready")).set_result(line)
        for answer in self._waiting.values():
            answer.set_exception(RuntimeError("a worker ended"))

    async def end(self) -> None:
        """End the process."""
        self._listener.cancel()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def workers(
    roles: Sequence[tuple[str, str]], gguf: Path, options: dict[str, Any]
) -> AsyncIterator[list[Worker]]:
    """Start workers of these roles on these devices."""
    started = []
    try:
        for role, device in roles:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(WORKER), role, device, str(gguf), json.dumps(options)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE_BYTES,
                env={**os.environ, "OMP_NUM_THREADS": "4"},
            )
            started.append(Worker(process))
        await asyncio.gather(*(worker.ready() for worker in started))
        yield started
    finally:
        await asyncio.gather(*(worker.end() for worker in started))


async def serve(
    all_of: Sequence[Request], serving: Sequence[Worker], *, disaggregated: bool
) -> list[Answered]:
    """Send requests when they are due; to prefill and then decode, or to the workers in turns."""
    begin = time.monotonic() + 0.1
    return list(
        await asyncio.gather(
            *(_serve(n, each, begin, serving, disaggregated=disaggregated) for n, each in enumerate(all_of))
        )
    )


async def _serve(
    number: int, request: Request, begin: float, serving: Sequence[Worker], *, disaggregated: bool
) -> Answered:
    name, due = f"r{number}", begin + request.at
    line: dict[str, Any] = {"id": name, "tokens": request.tokens, "answer": request.answer}
    await asyncio.sleep(due - time.monotonic())
    handed = None
    if disaggregated:
        prefill, decode = serving
        told = await prefill.ask(name, line)
        handed = told["done"]
        answer = await decode.ask(name, {**line, "ticket": told["ticket"]})
    else:
        answer = await serving[number % len(serving)].ask(name, line)
    return Answered(due, tuple(answer["times"]), tuple(answer["tokens"]), handed)
