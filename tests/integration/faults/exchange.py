"""One request between a client and the API server: passed on, answered, or broken off. TEST TOOL.

Invariant: a request is passed on once at most, and never once its client has left.
"""

import json
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from integration.faults.requests import CLIENT_LEFT, NO_ANSWER, Entry

_RST_ON_CLOSE = struct.pack("ii", 1, 0)
_NOT_PASSED_ON = {
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "accept-encoding",
    "keep-alive",
}


class LeftError(Exception):
    """The client has closed its connection."""


class RealExchange:
    """An exchange with aiohttp on both sides; see `faults.Exchange`."""

    def __init__(
        self,
        request: web.Request,
        entry: Entry,
        *,
        session: aiohttp.ClientSession,
        server: str,
        answered: Callable[[], bool],
    ) -> None:
        """Begin with a request.

        Args:
            request: as it came.
            entry: its line of the log.
            session: the way to the API server.
            server: its URL.
            answered: is called once the API server has answered; returns whether that answer is to be lost.
        """
        self.call, self.entry = entry.call, entry
        self._request, self._session, self._server, self._answered = request, session, server, answered
        self._upstream: aiohttp.ClientResponse | None = None
        self._body = b""
        self.response: web.StreamResponse | None = None

    @property
    def received(self) -> bytes:
        return self._body

    async def forward(self) -> None:
        if self._upstream is not None:
            return
        if self._transport() is None:
            raise LeftError
        headers = {
            key: value for key, value in self._request.headers.items() if key.lower() not in _NOT_PASSED_ON
        }
        self.entry.passed = time.monotonic()
        self._upstream = await self._session.request(
            self._request.method,
            URL(self._server + self.call.path, encoded=True),
            data=self.call.body or None,
            headers=headers,
        )
        if self.call.verb != "watch":
            self._body = await self._upstream.read()
            if self._answered():
                raise LeftError

    async def answer(self) -> None:
        await self.forward()
        assert self._upstream
        if self.call.verb == "watch" and self._upstream.status == web.HTTPOk.status_code:
            await self._stream(None)
        else:
            headers = {
                key: self._upstream.headers[key] for key in ("Retry-After",) if key in self._upstream.headers
            }
            body = self._body or await self._upstream.read()
            await self._write(self._upstream.status, body, headers, self._upstream.content_type)

    async def reply(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        await self._write(code, body, headers, "application/json")

    async def filter(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        await self.forward()
        await self._stream(wanted)

    def reset(self) -> None:
        transport = self._transport()
        if transport is not None:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            transport.abort()
        self.entry.end(NO_ANSWER)

    def leave(self) -> None:
        """Note that the client has left, and leave the API server."""
        if self.entry.ended is None:
            self.entry.end(CLIENT_LEFT)
        self.close()

    def close(self) -> None:
        """Leave the API server."""
        if self._upstream is not None:
            self._upstream.close()

    async def _write(self, code: int, body: bytes, headers: dict[str, str], content: str) -> None:
        self.response = web.Response(status=code, body=body, headers=headers, content_type=content)
        self.entry.end(code)

    async def _stream(self, wanted: Callable[[dict[str, Any]], bool] | None) -> None:
        """Pass the lines of a watch on, all or those that are wanted, until one side ends it."""
        assert self._upstream
        self.response = web.StreamResponse(status=self._upstream.status)
        self.response.content_type = self._upstream.content_type
        await self.response.prepare(self._request)
        self.entry.code = self._upstream.status
        # One that the API server breaks off is ended here: its client asks again all the same.
        with suppress(aiohttp.ClientError):
            async for line in self._upstream.content:
                if wanted is None or wanted(json.loads(line)):
                    await self.response.write(line)
        self.entry.end(self._upstream.status)

    def _transport(self) -> Any:
        transport = self._request.transport
        return None if transport is None or transport.is_closing() else transport
