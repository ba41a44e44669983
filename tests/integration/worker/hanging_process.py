"""A real Dynamo worker whose engine can be made to hang without a word; SIMULATED is the engine.

Its tokens are Dynamo's own sample engine's. As with TensorRT-LLM, Dynamo's health check is a request that the
engine computes like any other. While the file exists, nothing comes out of the engine; all else goes on.

Arguments: the model's folder, seconds for each token, and the file.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop
from dynamo.common.backend import EngineConfig, WorkerConfig
from dynamo.common.backend.sample_engine import SampleLLMEngine
from dynamo.common.backend.worker import Worker

from integration.worker.stack import MODEL

FIRST_WORD = 1000


class Hanging(SampleLLMEngine):
    """The sample engine, held up while a file exists."""

    def __init__(self, model: str, delay: float, hangs: Path) -> None:
        super().__init__(model, delay=delay)
        self._hangs = hangs

    async def start(self, worker_id: int) -> EngineConfig:
        started: EngineConfig = await super().start(worker_id)
        return replace(started, served_model_name=MODEL)

    async def generate(self, request: Any, context: Any) -> AsyncGenerator[Any, None]:
        async for chunk in super().generate(request, context):
            while self._hangs.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.05)
            # The first of the model's tokens end a text.
            yield {**chunk, "token_ids": [FIRST_WORD + token for token in chunk["token_ids"]]}


async def serve(model: str, delay: str, hangs: str) -> None:
    """Serve until SIGTERM."""
    config = WorkerConfig(
        namespace="test-r1",
        component="backend",
        endpoint="generate",
        model_name=model,
        served_model_name=MODEL,
        endpoint_types="chat,completions",
        discovery_backend="file",
        request_plane="tcp",
        event_plane="zmq",
        enable_kv_routing=False,
    )
    await Worker(Hanging(model, float(delay), Path(hangs)), config).run()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
