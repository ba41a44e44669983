"""The client that all sides are made and watched with: plain HTTP with many requests at once."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import aiohttp

from disagg_operator.reconcile.kinds import DISAGG_DEPLOYMENT, OBSERVED, Kind
from testcluster.pki import Identity

Object = dict[str, Any]

AT_ONCE = 16
"""Requests that a script has under way at the same time."""
_LARGEST_LINE = 16 * 1024 * 1024
_CONFLICT = 409
_PAUSE_SECONDS = 0.1

DISAGGREGATED_SET = Kind("disaggregatedset.x-k8s.io/v1", "DisaggregatedSet", "disaggregatedsets")
"""LWS's kind."""
_KINDS = {kind.plural: kind for kind in (*OBSERVED, DISAGG_DEPLOYMENT, DISAGGREGATED_SET)}


def plural_of(obj: Object) -> str:
    """Return the resource of an object, such as `statefulsets`."""
    wanted = obj["apiVersion"], obj["kind"]
    return next(kind.plural for kind in _KINDS.values() if (kind.api_version, kind.kind) == wanted)


def path_of(resource: str, namespace: str, name: str = "") -> str:
    """Return the path of a resource's objects, or of one."""
    version = _KINDS[resource].api_version
    root = f"{'/apis/' if '/' in version else '/api/'}{version}"
    return f"{root}/namespaces/{namespace}/{resource}{'/' + name if name else ''}"


class RefusedError(Exception):
    """The API server refused a request."""


class Client:
    """A client of one API server; close it in the end."""

    def __init__(self, server: str, authority: Identity, user: Identity) -> None:
        context = ssl.create_default_context(cafile=str(authority.certificate))
        context.load_cert_chain(user.certificate, user.key)
        self._session = aiohttp.ClientSession(
            base_url=server,
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            read_bufsize=_LARGEST_LINE,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def create(self, obj: Object) -> None:
        """Create an object; one that is there already is left as it is."""
        path = path_of(plural_of(obj), obj["metadata"]["namespace"])
        await self._send("POST", path, json.dumps(obj), "application/json", passed=_CONFLICT)

    async def patch(self, resource: str, namespace: str, name: str, patch: Object) -> None:
        """Change an object by a merge patch."""
        content = "application/merge-patch+json"
        await self._send("PATCH", path_of(resource, namespace, name), json.dumps(patch), content)

    async def list(self, resource: str, namespace: str) -> Object:
        """Return a List of objects."""
        async with self._session.get(path_of(resource, namespace)) as answer:
            found: Object = await self._checked(answer)
            return found

    async def watch(
        self, resource: str, namespace: str, since: str, *, metadata: bool = False
    ) -> AsyncGenerator[Object]:
        """Yield watch events. A watch that ends goes on where it was: the API server drops one that is slow.

        Args:
            resource: what to watch.
            namespace: where.
            since: resource version to begin after.
            metadata: whether only the objects' metadata is wanted, which costs the API server less.
        """
        only = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
        headers = {"Accept": only if metadata else "application/json"}
        path = path_of(resource, namespace)
        while True:
            parameters = {"watch": "1", "resourceVersion": since, "timeoutSeconds": "3600"}
            with suppress(aiohttp.ClientPayloadError, aiohttp.ClientConnectionError):
                async with self._session.get(path, params=parameters, headers=headers) as answer:
                    answer.raise_for_status()
                    async for line in answer.content:
                        event: Object = json.loads(line)
                        since = event["object"]["metadata"].get("resourceVersion", since)
                        yield event
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _send(self, method: str, path: str, body: str, content: str, passed: int = 0) -> None:
        headers = {"Content-Type": content}
        async with self._session.request(method, path, data=body, headers=headers) as answer:
            if answer.status != passed:
                await self._checked(answer)

    async def _checked(self, answer: aiohttp.ClientResponse) -> Any:
        told = await answer.text()
        if not answer.ok:
            raise RefusedError(f"{answer.method} {answer.url.path}: {answer.status} {told[:500]}")
        return json.loads(told)


async def each(items: Iterable[Any], work: Callable[[Any], Awaitable[None]], at_once: int = AT_ONCE) -> None:
    """Do the work on every item, so many at the same time."""
    waiting: Sequence[Any] = list(items)
    rest = iter(waiting)

    async def worker() -> None:
        for item in rest:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())
