"""How a process of ours is told to stop."""

import asyncio
import signal


def handle_signals(stop: asyncio.Event) -> None:
    """Have SIGTERM and SIGINT set ``stop``."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
