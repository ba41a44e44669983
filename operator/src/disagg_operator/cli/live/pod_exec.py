"""Runs programs in a container through the API server, as `kubectl exec` does: protocol v4.channel.k8s.io.

Invariants: output is handed on as it comes, in bytes; a connection that ends before the program's exit status
is told from a program that ended.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.stream import WsApiClient
from kubernetes.aio.stream.ws_client import ERROR_CHANNEL, STDERR_CHANNEL, STDOUT_CHANNEL

HEARTBEAT_SECONDS = 20.0
"""Load balancers before API servers cut connections that say nothing for a minute."""

Sink = Callable[[bytes], None]


class ExecError(Exception):
    """A program could not be started; the text is the container runtime's or the API server's."""


class ForbiddenError(ExecError):
    """Programs may not be run in this pod."""


class BrokenOffError(ExecError):
    """The connection ended before the program did."""


@dataclass(frozen=True)
class Done:
    """A program that has ended.

    Attributes:
        code: exit code.
        output: what it wrote to standard output.
        complaint: what it wrote to standard error.
    """

    code: int
    output: str
    complaint: str


class PodExec:
    """One container of one pod."""

    def __init__(self, configuration: Configuration, namespace: str, pod: str, container: str) -> None:
        """Make a runner; `close` it in the end.

        Args:
            configuration: how to reach the API server.
            namespace: of the pod.
            pod: name of the pod.
            container: name of the container.
        """
        self._client = WsApiClient(  # type: ignore[no-untyped-call]
            configuration, heartbeat=HEARTBEAT_SECONDS
        )
        self._path = f"{configuration.host}/api/v1/namespaces/{namespace}/pods/{pod}/exec"
        self._container = container

    async def close(self) -> None:
        """Close all connections; programs that run go on."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def text(self, *command: str) -> Done:
        """Run a program, and return what it wrote."""
        output, complaint = bytearray(), bytearray()
        code = await self.run(command, output.extend, complaint.extend)
        return Done(code, output.decode(errors="replace"), complaint.decode(errors="replace"))

    async def run(self, command: tuple[str, ...], output: Sink, complaint: Sink) -> int:
        """Run a program to its end, and return its exit code.

        Args:
            command: program and arguments.
            output: is given standard output as it comes.
            complaint: is given standard error as it comes.

        Raises:
            ExecError: it could not be started, or the connection broke off.
        """
        query = [("container", self._container), ("stdout", "true"), ("stderr", "true")]
        url = f"{self._path}?{urlencode([*query, *(('command', part) for part in command)])}"
        headers: dict[str, str] = {}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], url, "GET", None)
        sinks = {STDOUT_CHANNEL: output, STDERR_CHANNEL: complaint}
        try:
            connection = await self._client.request(  # type: ignore[no-untyped-call]
                "GET", url, headers=headers, _preload_content=False
            )
            async with connection as socket:
                async for message in socket:
                    data = message.data if isinstance(message.data, bytes) else message.data.encode()
                    if data and data[0] == ERROR_CHANNEL:
                        return _exit_code(data[1:])
                    if data and data[0] in sinks:
                        sinks[data[0]](data[1:])
        except aiohttp.WSServerHandshakeError as error:
            raise _refusal(error) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise BrokenOffError(f"{error or type(error).__name__}") from error
        raise BrokenOffError("the connection ended before the program did")


def _refusal(error: aiohttp.WSServerHandshakeError) -> ExecError:
    if error.status == HTTPStatus.FORBIDDEN:
        return ForbiddenError(error.message)
    return ExecError(f"the API server answered {error.status}: {error.message}")


def _exit_code(data: bytes) -> int:
    """Return the exit code that a Status of the error channel tells."""
    status = json.loads(data)
    if status.get("status") == "Success":
        return 0
    causes = status.get("details", {}).get("causes", [])
    for cause in causes:
        if status.get("reason") == "NonZeroExitCode" and cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ExecError(status.get("message", "the program could not be started"))
