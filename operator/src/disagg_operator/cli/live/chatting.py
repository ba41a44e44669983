"""Sends a chat request to the frontend of a deployment, through the API server's proxy or to an address."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from disagg_operator.cli.live.asking import deployment
from disagg_operator.cli.live.connection import Connection, told
from disagg_operator.cli.streamed import Answer, Events, error_text
from disagg_operator.cli.terminal import UserError
from disagg_operator.plan import names
from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.reconcile.kinds import Object

_PATH = "v1/chat/completions"
_PORT = 8000
_CONNECT_SECONDS = 10.0
_OF_THE_API_SERVER = (0, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


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
    body = _body(resource, wish)
    events, answer = Events(), Answer(clock, clock())
    opened = _direct(resource, wish, body) if wish.url else _proxied(connection, resource, wish, body)
    try:
        async with opened as chunks:
            async for piece in chunks:
                for data in events.feed(piece):
                    text = answer.take(data)
                    if text:
                        tell(text)
    except ValueError as error:
        raise UserError(f"the frontend broke off: {error}. {_next(resource, wish)}") from None
    if not answer.finish and not answer.text:
        raise UserError(f"the frontend's answer was no stream of events. {_next(resource, wish)}")
    return answer


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


@asynccontextmanager
async def _proxied(connection: Connection, resource: Object, wish: Wish, body: Object) -> AsyncGenerator[Any]:
    """Send a request through the API server's proxy to Services."""
    service = f"{names.frontend(wish.deployment)}:{_port(resource)}"
    path = f"/api/v1/namespaces/{quote(connection.namespace)}/services/{service}/proxy/{_PATH}"
    request = connection.cluster.opened(
        "create", "services/proxy", path, method="POST", body=body, quiet=wish.quiet
    )
    try:
        async with request as chunks:
            yield chunks
    except ClusterError as error:
        if error.code in _OF_THE_API_SERVER or error.reason == "NotFound":
            with told(connection, "create", "services/proxy", service):
                raise
        raise UserError(
            f"the frontend did not answer ({_said(str(error))}). {_next(resource, wish)}"
        ) from None


@asynccontextmanager
async def _direct(resource: Object, wish: Wish, body: Object) -> AsyncGenerator[Any]:
    """Send a request to an address, such as that of a port-forward."""
    limits = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=wish.quiet)
    url = f"{wish.url.rstrip('/')}/{_PATH}"
    try:
        async with aiohttp.ClientSession(timeout=limits) as session, session.post(url, json=body) as response:
            if response.status != HTTPStatus.OK:
                said = _said(await response.text(errors="replace"))
                raise UserError(f"{url} answered HTTP {response.status} ({said}). {_next(resource, wish)}")
            yield response.content.iter_any()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UserError(
            f"{url} does not answer: {error or type(error).__name__}. {_next(resource, wish)}"
        ) from None


def _port(resource: Object) -> int:
    address = urlsplit(resource.get("status", {}).get("address", ""))
    return address.port or resource["spec"].get("frontend", {}).get("port") or _PORT


def _said(text: str) -> str:
    """Return the message of an error, which may be JSON."""
    try:
        found = json.loads(text)
    except ValueError:
        return text[:300]
    return error_text(found) if isinstance(found, dict) else text[:300]


def _next(resource: Object, wish: Wish) -> str:
    """Return what to do where there was no answer."""
    service = f"service/{names.frontend(wish.deployment)}"
    forward = f"kubectl port-forward {service} 8000:{_port(resource)}, and --url http://127.0.0.1:8000"
    around = "" if wish.url else f" Where the API server may not reach it: {forward}."
    return f"`kubectl disagg status {wish.deployment}` says whether it serves.{around}"
