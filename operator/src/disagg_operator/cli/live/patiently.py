"""Asks again what a busy API server put off: a command asks but once, and has no next round."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

from disagg_operator.cli.live.connection import RefusedError

T = TypeVar("T")
_TRIES = 3
_LONGEST_SECONDS = 10.0
_USUAL_SECONDS = 1.0
_MARGIN_SECONDS = 0.05
"""More than asked for, as the clock may be a little ahead."""


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Return what is answered, if need be after the time that the API server asks to wait.

    Args:
        ask: sends the request.

    Raises:
        RefusedError: it was refused for another reason, or the API server is busy for long.
    """
    for _ in range(_TRIES - 1):
        try:
            return await ask()
        except RefusedError as error:
            seconds = error.retry_after or _USUAL_SECONDS
            if error.code != HTTPStatus.TOO_MANY_REQUESTS or seconds > _LONGEST_SECONDS:
                raise
            await asyncio.sleep(seconds + _MARGIN_SECONDS)
    return await ask()
