"""Health of the process and its HTTP server: /healthz, /readyz and /metrics.

Alive: the event loop turns, workers end their reconciles and watches hear of the API server. Ready: this
process leads and its caches are in step, or it stands by.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from disagg_operator.runtime.metrics import Metrics

LONGEST_RECONCILE_SECONDS = 300.0
LONGEST_SILENCE_SECONDS = 300.0
LONGEST_LAG_SECONDS = 10.0
_BEAT_SECONDS = 1.0


@dataclass
class Health:
    """What the process says of itself.

    Attributes:
        metrics: where the lag of the event loop is shown.
        ready: why the process is not ready, or None where it is.
        silence: returns the seconds since the quietest watch heard of the API server.
        working_since: start of each reconcile under way, by worker, in the event loop's time.
    """

    metrics: Metrics
    not_ready: str | None = "starting"
    silence: Callable[[], float] = lambda: 0.0
    working_since: dict[int, float] = field(default_factory=dict)
    _lag: float = 0.0
    _was_ready: bool = False

    def become_ready(self) -> None:
        """Say that the process does its work or stands by, and at first how long that took."""
        self.not_ready = None
        if not self._was_ready:
            self._was_ready = True
            self.metrics.start_seconds.set(process_age())

    async def beat(self) -> None:
        """Measure the lag of the event loop, and how many tasks it has, until cancelled."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_BEAT_SECONDS)
            self._lag = max(0.0, time.monotonic() - before - _BEAT_SECONDS)
            self.metrics.loop_lag.set(self._lag)
            self.metrics.tasks.set(len(asyncio.all_tasks()))

    def faults(self) -> list[str]:
        """Return what is wrong with this process; nothing while it is alive."""
        now = asyncio.get_running_loop().time()
        found = []
        if self._lag > LONGEST_LAG_SECONDS:
            found.append(f"the event loop lags by {self._lag:.0f} s")
        if any(now - since > LONGEST_RECONCILE_SECONDS for since in self.working_since.values()):
            found.append(f"a reconcile takes longer than {LONGEST_RECONCILE_SECONDS:.0f} s")
        if self.silence() > LONGEST_SILENCE_SECONDS:
            found.append(f"a watch has been silent for {self.silence():.0f} s")
        return found

    async def healthz(self, _: web.Request) -> web.Response:
        """Answer whether the process should be restarted."""
        found = self.faults()
        return web.Response(status=503 if found else 200, text="\n".join(found) or "ok")

    async def readyz(self, _: web.Request) -> web.Response:
        """Answer whether the process does its work, or stands by to."""
        return web.Response(status=503 if self.not_ready else 200, text=self.not_ready or "ok")

    async def show_metrics(self, request: web.Request) -> web.Response:
        """Answer with all metrics, or with those that `name[]` names."""
        text = self.metrics.render(request.query.getall("name[]", []))
        return web.Response(body=text, headers={"Content-Type": self.metrics.content_type})


def process_age() -> float:
    """Return the seconds since this process was started, imports included. Reads Linux' /proc."""
    start_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - start_ticks / os.sysconf("SC_CLK_TCK")


async def serve(health: Health, host: str, port: int) -> web.AppRunner:
    """Start the HTTP server; clean the returned runner up in the end.

    Raises:
        OSError: the address is taken or may not be used.
    """
    app = web.Application()
    app.router.add_get("/healthz", health.healthz)
    app.router.add_get("/readyz", health.readyz)
    app.router.add_get("/metrics", health.show_metrics)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
