"""Sends a chat request to the frontend of a deployment, through the API server's proxy or to an address."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import aiohttp

from disagg_operator.cli.live.asking import deployment
from disagg_operator.cli.live.connection import Connection, told
from disagg_operator.cli.streamed import Answer, Events, error_text, parsed
from disagg_operator.cli.terminal import UserError
from disagg_operator.plan import names
from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.reconcile.kinds import Object

_PATH = "v1/chat/completions"
_PORT = 8000
_CONNECT_SECONDS = 10.0
_OF_THE_API_SERVER = ("Unauthorized", "Forbidden", "NotFound")
"""Reasons of its Status; frontends give none."""


@dataclass(frozen=True)
class Wish:
    """What is asked.

    Attributes:
        deployment: name of the DisaggDeployment.
        prompt: the question.
        system: what the model is told before, or nothing.
        most_tokens: where the answer ends.
        url: address of the frontend, or nothing for the API server's proxy.
        quiet: seconds without a byte after which it is given up.
    """

    deployment: str
    prompt: str
    system: str
    most_tokens: int
    url: str
    quiet: float


async def chat(
    connection: Connection, wish: Wish, clock: Callable[[], float], tell: Callable[[str], None]
) -> Answer:
    """Return the answer to a question.

    Args:
        connection: the cluster.
        wish: what is asked.
        clock: a time in seconds.
        tell: is told each piece of the answer as it comes.

    Raises:
        UserError: there is no answer.
    """
    resource = await deployment(connection, wish.deployment)
    events, answer = Events(), Answer(clock, clock())
    after = _next(connection, resource, wish)
    send = _direct if wish.url else _proxied
    async with aclosing(send(connection, resource, wish)) as pieces:
        try:
            async for piece in pieces:
                for text in _texts(events, answer, piece):
                    tell(text)
        except _NoAnswerError as error:
            raise UserError(f"{error}. {after}") from None
    if not answer.finish and not answer.text:
        raise UserError(f"the frontend's answer was no stream of chat completions. {after}")
    if not answer.ended:
        raise UserError(f"the frontend broke off: its answer has no end. {after}")
    return answer


class _NoAnswerError(Exception):
    """The frontend did not answer, or not to the end. The message says who did what."""


def _texts(events: Events, answer: Answer, piece: bytes) -> Iterator[str]:
    """Yield the texts that a piece of the stream completes."""
    try:
        for data in events.feed(piece):
            if text := answer.take(data):
                yield text
    except ValueError as error:
        raise _NoAnswerError(f"the frontend broke off: {error}") from None


def _body(resource: Object, wish: Wish) -> Object:
    messages = [{"role": "user", "content": wish.prompt}]
    if wish.system:
        messages.insert(0, {"role": "system", "content": wish.system})
    return {
        "model": resource["spec"]["model"]["name"],
        "messages": messages,
        "max_tokens": wish.most_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def _proxied(connection: Connection, resource: Object, wish: Wish) -> AsyncGenerator[bytes]:
    """Send a request through the API server's proxy to Services, and yield the answer as it comes."""
    service = f"{names.frontend(wish.deployment)}:{_port(resource)}"
    path = f"/api/v1/namespaces/{quote(connection.namespace)}/services/{service}/proxy/{_PATH}"
    request = connection.cluster.opened(
        "create", "services/proxy", path, method="POST", body=_body(resource, wish), quiet=wish.quiet
    )
    began = False
    try:
        async with request as chunks:
            began = True
            async for chunk in chunks:
                yield chunk
    except ClusterError as error:
        if error.reason == aiohttp.SocketTimeoutError.__name__:
            raise _silent(wish) from None
        if began:
            raise _NoAnswerError(str(error)) from None
        if not error.code or error.reason in _OF_THE_API_SERVER:
            with told(connection, "create", "services/proxy", service):
                raise
        raise _NoAnswerError(f"the frontend did not answer ({_said(str(error))})") from None


async def _direct(_: Connection, resource: Object, wish: Wish) -> AsyncGenerator[bytes]:
    """Send a request to an address, such as that of a port-forward, and yield the answer as it comes."""
    limits = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=wish.quiet)
    url, body = f"{wish.url.rstrip('/')}/{_PATH}", _body(resource, wish)
    began = False
    try:
        async with aiohttp.ClientSession(timeout=limits) as session, session.post(url, json=body) as response:
            if response.status != HTTPStatus.OK:
                said = _said(await response.text(errors="replace"))
                raise _NoAnswerError(f"{url} answered HTTP {response.status} ({said})")
            began = True
            async for chunk in response.content.iter_any():
                yield chunk
    except aiohttp.SocketTimeoutError:
        raise _silent(wish) from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        what = "broke off" if began else "does not answer"
        raise _NoAnswerError(f"{url} {what}: {error or type(error).__name__}") from None


def _silent(wish: Wish) -> _NoAnswerError:
    return _NoAnswerError(f"the frontend was silent for {wish.quiet:g} s (--timeout)")


def _port(resource: Object) -> int:
    address = urlsplit(resource.get("status", {}).get("address", ""))
    return address.port or resource["spec"].get("frontend", {}).get("port") or _PORT


def _said(text: str) -> str:
    """Return the message of an error, which may be JSON."""
    try:
        found = parsed(text)
    except ValueError:
        return text[:300]
    return error_text(found) if isinstance(found, dict) else text[:300]


def _next(connection: Connection, resource: Object, wish: Wish) -> str:
    """Return what to do where there was no answer."""
    where = f"--namespace {connection.namespace}"
    service = f"service/{names.frontend(wish.deployment)}"
    forward = f"kubectl port-forward {where} {service} 8000:{_port(resource)}"
    direct = f"{forward}, and --url http://127.0.0.1:8000"
    around = "" if wish.url else f" Where the API server may not reach it: {direct}."
    return f"`kubectl disagg status {wish.deployment} {where}` says whether it serves.{around}"
