"""A proxy between a client and a real API server that does to requests what a test tells it to. TEST TOOL.

It listens on the loopback without TLS, has a kubeconfig for its client, passes everything on as the API
server's administrator, and runs in a thread of its own. Each operator process of a test has a proxy of its
own, so that its log says who wrote what and when.

Invariants: what no rule means passes unchanged, watches line by line; requests of a client that has left are
not passed on any more, as with other proxies.
"""

import asyncio
import base64
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

import aiohttp
import yaml
from aiohttp import web

from integration.faults.exchange import LeftError, RealExchange
from integration.faults.faults import Fault
from integration.faults.moments import Hook, Moment, go_on
from integration.faults.requests import Call, Entry, parse
from integration.faults.rules import Rule, Rules
from testcluster.ports import free_ports

_LONGEST_LINE = 2**22
_FAREWELL_SECONDS = 10.0


class FaultProxy:
    """A proxy in front of one API server. Use it as a context manager.

    Attributes:
        kubeconfig: for its client.
        log: all requests in the order in which they came.
        rules: what is done to them.
        hook: is asked about each call that counts; see `moments`.
        counts: which calls count for the hook: the writes, unless a test says otherwise.
    """

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        """Make a proxy.

        Args:
            kubeconfig: the API server and its administrator.
            directory: an empty folder for the client's kubeconfig.
        """
        config = yaml.safe_load(kubeconfig.read_text())
        self._cluster, self._user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        (self._port,) = free_ports(1)
        directory.mkdir(parents=True, exist_ok=True)
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(_through(config, f"http://127.0.0.1:{self._port}")))
        self.log: list[Entry] = []
        self.rules = Rules()
        self.hook: Hook = go_on
        self.counts: Callable[[Call], bool] = lambda call: call.is_write
        self._counted = 0
        self._ready = threading.Event()
        self._live: set[RealExchange] = set()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._loop: asyncio.AbstractEventLoop
        self._stop = asyncio.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="fault proxy", daemon=True
        )

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        assert self._ready.wait(30), "the proxy does not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def on(
        self, match: Callable[[Call], bool], fault: Fault, *, skip: int = 0, times: int | None = None
    ) -> Rule:
        """Do a fault to requests from now on.

        Args:
            match: which requests, such as `requests.Match(verbs={"apply"})`.
            fault: what is done; see `faults`.
            skip: how many of them are let pass first.
            times: how many of them it is done to; None for all.
        """
        return self.rules.add(Rule(match, fault, skip, times))

    def heal(self) -> None:
        """Let everything pass from now on; a watch that is silent stays so."""
        self.rules.clear()

    def break_off(self, match: Callable[[Call], bool]) -> None:
        """Break the connections of some requests that are under way, such as all watches."""

        def reset() -> None:
            for exchange in [each for each in self._live if match(each.call)]:
                exchange.reset()

        self._loop.call_soon_threadsafe(reset)

    def entries(self, match: Callable[[Call], bool], since: int = 0) -> list[Entry]:
        """Return the log's lines about some requests.

        Args:
            match: which requests.
            since: length of the log from which on it is looked at.
        """
        return [entry for entry in self.log[since:] if match(entry.call)]

    def restart_count(self) -> None:
        """Have the next call that counts be the first for the hook."""
        self._counted = 0

    async def _serve(self) -> None:
        connector = aiohttp.TCPConnector(
            ssl=_context(self._cluster, self._user), limit=0, socket_factory=self._new_socket
        )
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, connect=5),
            read_bufsize=_LONGEST_LINE,
        ) as session:

            async def handle(request: web.Request) -> web.StreamResponse:
                return await self._handle(request, session)

            app = web.Application(client_max_size=2**25)
            app.router.add_route("*", "/{path:.*}", handle)
            # A handler ends when its client leaves.
            runner = web.AppRunner(
                app, access_log=None, handler_cancellation=True, handle_signals=False, shutdown_timeout=0.1
            )
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self._port, reuse_address=True).start()
            self._loop = asyncio.get_running_loop()
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()
        end = self._loop.time() + _FAREWELL_SECONDS
        # TLS says farewell on both sides; a loop that ends before that leaves its sockets open.
        while any(each.fileno() >= 0 for each in self._sockets) and self._loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def _new_socket(self, address: tuple[Any, ...]) -> socket.socket:
        made = socket.socket(*address[:3])
        self._sockets.add(made)
        return made

    async def _handle(self, request: web.Request, session: aiohttp.ClientSession) -> web.StreamResponse:
        call = parse(
            request.method,
            request.raw_path,
            request.query,
            content=request.headers.get("Content-Type", ""),
            body=await request.read(),
            agent=request.headers.get("User-Agent", ""),
        )
        entry = Entry(len(self.log) + 1, call)
        self.log.append(entry)
        counts = self.counts(call)
        self._counted += counts
        number, hook = self._counted, self.hook
        exchange = RealExchange(
            request,
            entry,
            session=session,
            server=self._cluster["server"],
            answered=lambda: counts and hook(number, Moment.AFTER, call),
        )
        self._live.add(exchange)
        try:
            if counts and hook(number, Moment.BEFORE, call):
                exchange.reset()
            else:
                await self._do(exchange)
        except asyncio.CancelledError:
            exchange.leave()
            raise
        except LeftError:
            exchange.reset()
        except (aiohttp.ClientError, OSError):
            # The API server is away, or one side broke off.
            exchange.reset()
        finally:
            self._live.remove(exchange)
            exchange.close()
        return exchange.response or web.Response(status=502)

    async def _do(self, exchange: RealExchange) -> None:
        fault = self.rules.take(exchange.call)
        if fault is None:
            await exchange.answer()
        else:
            exchange.entry.fault = str(fault)
            await fault(exchange)


def _through(config: dict[str, Any], server: str) -> dict[str, Any]:
    """Return the kubeconfig of a client of the proxy."""
    clusters = [{"name": cluster["name"], "cluster": {"server": server}} for cluster in config["clusters"]]
    users = [{"name": user["name"], "user": {}} for user in config["users"]]
    return {**config, "clusters": clusters, "users": users}


def _context(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile() as pair:
        for part in ("client-certificate-data", "client-key-data"):
            pair.write(base64.b64decode(user[part]) + b"\n")
        pair.flush()
        context.load_cert_chain(pair.name)
    return context
