"""Signals are ours from the moment at which kopf has taken them."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from disagg_operator.runtime import glue
from disagg_operator.runtime.official import Configuration
from disagg_operator.runtime.signals import handle_signals

LIMIT_SECONDS = 60


async def test_a_signal_that_comes_while_kopf_starts_ends_the_process_and_not_kopf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    told, kopf_stop = asyncio.Event(), asyncio.Event()
    add_signal_handler = loop.add_signal_handler

    def signalled(number: int, callback: Callable[..., object], *args: Any) -> None:
        add_signal_handler(number, callback, *args)
        if number == signal.SIGTERM and callback != told.set:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(loop, "add_signal_handler", signalled)
    nowhere = Configuration(host="http://127.0.0.1:9")
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            watching = asyncio.create_task(
                glue.run(lambda _: None, nowhere, (), kopf_stop, lambda: handle_signals(told))
            )
            await told.wait()
            assert not watching.done()
            # Told to stop, it would still wait for tasks that try to reach the API server.
            kopf_stop.set()
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
