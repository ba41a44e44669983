"""A prefill worker without Dynamo: the engine and its offers, driven by JSON lines.

Arguments: the configuration, and of a group the number of its ranks and the leader's port.

A line {"id": …, "tokens": […]} is answered, in any order, by {"id": …, "ticket": …}.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from disagg_worker.config import load_config
from disagg_worker.engine import SamplingParams
from disagg_worker.group.membership import membership
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.serve.worker import build_parts
from disagg_worker.transfer import Source


async def main() -> None:
    path, *size = sys.argv[1:]
    ranks, port = (int(number) for number in size or (1, 0))
    member = membership(0, ranks, "localhost", port, 200)
    parts = build_parts("prefill", load_config(Path(path)), WorkerMetrics(), member)
    source = parts.closer
    assert isinstance(source, Source)
    if parts.group:
        await parts.group.start()
    await parts.engine.start()
    lines = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin.buffer
    )

    async def answer(work: dict[str, Any]) -> None:
        prefilled = await parts.engine.prefill(work["id"], work["tokens"], SamplingParams(max_tokens=1))
        ticket = await source.offer(work["id"], prefilled)
        sys.stdout.write(json.dumps({"id": work["id"], "ticket": ticket.to_json()}) + "\n")
        sys.stdout.flush()

    async with asyncio.TaskGroup() as group:
        while line := await lines.readline():
            group.create_task(answer(json.loads(line)))
    await source.close()
    await parts.engine.stop()
    if parts.group:
        await parts.group.close()


asyncio.run(main())
