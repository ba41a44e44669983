"""Waiting for several things that fail together."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def all_of(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines at once until all are done; the first failure ends the others and is raised."""
    first, *others = coroutines
    if not others:
        return await first
    tasks = [asyncio.ensure_future(each) for each in (first, *others)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return None
