"""The one adapter to a Kubernetes API server, on the official asynchronous client; plain dicts in and out.

Invariants: every answer that is not a success becomes a ClusterError; every request has a time limit and is
counted; all writes but that of the Lease itself go through a fence that closes when the process no longer
leads; what the API server asked to be spared of is not sent.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from disagg_operator.api.v1alpha1 import API_VERSION, KIND
from disagg_operator.reconcile.applying.ownership import refuse_taken
from disagg_operator.reconcile.clock import timestamp
from disagg_operator.reconcile.errors import ClusterError, GoneError, NotFoundError
from disagg_operator.reconcile.kinds import DISAGG_DEPLOYMENT, POD, Kind, Object, kind_of
from disagg_operator.runtime.events import EVENT
from disagg_operator.runtime.leader import LEASE
from disagg_operator.runtime.official import ApiClient, Configuration, load_incluster_config, load_kube_config
from disagg_operator.runtime.patience import Patience
from disagg_operator.runtime.wire import decode

FIELD_MANAGER = "disagg-operator"

_LOGS = Kind("v1", "PodLog", "pods/log")
_LINE_BYTES = 4096
SECONDS = 20.0
"""Time limit of a request, but for watches."""
_CONNECT_SECONDS = 5.0
_WRITES_AT_ONCE = 16
"""Writes under way at the same time. More of them wait for each other in the API server, until their time is
over, and keep those of the Lease waiting."""
_TIMEOUT = aiohttp.ClientTimeout(total=SECONDS, connect=_CONNECT_SECONDS)
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_JSON = "application/json"
_NO_VERSION = "1"
"""etcd's revision before the first write of all."""
_FORCED = {"fieldManager": FIELD_MANAGER, "force": "true"}
_FIRST_ERROR = 400
_GONE = 410
_NOT_FOUND = 404
_CONFLICT = 409


async def load_configuration() -> Configuration:
    """Return how to reach the API server: of the pod that this runs in, or else of the user's kubeconfig.

    Raises:
        kubernetes.aio.config.ConfigException: there is neither.
    """
    configuration = Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        await load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    # Every watch holds a connection for itself; the client's own bound would starve the rest.
    configuration.connection_pool_maxsize = 0
    # Asked to heed the environment, aiohttp reads it and ~/.netrc in a thread, for each request anew.
    configuration.client_session_kwargs = {"trust_env": False}
    configuration.proxy = configuration.proxy or proxy_of(configuration.host)
    return configuration


def proxy_of(url: str) -> str | None:
    """Return the proxy that the environment names for a URL, or None: HTTPS_PROXY and NO_PROXY tell."""
    asked = urlsplit(url)
    return None if proxy_bypass(asked.hostname or "") else getproxies().get(asked.scheme)


class KubeCluster:
    """Reads, watches and writes of one API server."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        counted: Callable[[str, str, int], None] = lambda *_: None,
        fence: Callable[[], float] = lambda: SECONDS,
        wrote: Callable[[Kind, Object], None] = lambda *_: None,
    ) -> None:
        """Make an adapter; `close` it in the end.

        Args:
            configuration: how to reach the API server.
            counted: is told verb, kind and HTTP status (0: no answer) of each request.
            fence: raises where this process may not write any more, and else returns the seconds within which
                a write that begins now must be over.
            wrote: is told kind and object that a write left, as the API server answered.
        """
        self._client = ApiClient(configuration)
        self._client.user_agent = f"disagg-operator/{version('disagg-operator')}"
        self._counted = counted
        self._fence, self._wrote = fence, wrote
        self._patience = Patience()
        self._places = asyncio.Semaphore(_WRITES_AT_ONCE)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def apply(self, obj: Object, *, new: bool = False) -> Object:
        """Create or change an object by server-side apply; see `reconcile.cluster.Cluster`."""
        kind, metadata = kind_of(obj), obj["metadata"]
        path = _path(kind, metadata["namespace"], metadata["name"])
        # No object has this version: the API server takes the first request for a new one and no other.
        body = {**obj, "metadata": {**metadata, "resourceVersion": _NO_VERSION}} if new else obj
        try:
            return await self._write("apply", kind, "PATCH", path, body, content=_APPLY, query=_FORCED)
        except ClusterError as error:
            if not new or error.code != _CONFLICT:
                raise
        refuse_taken(obj, await self._look(kind, metadata["namespace"], metadata["name"]))
        return await self._write("apply", kind, "PATCH", path, obj, content=_APPLY, query=_FORCED)

    async def _look(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return an object, by the permission to list its kind."""
        page = await self.list_page(kind, namespace, "", None, 1, fields=f"metadata.name={name}")
        found: list[Object] = page["items"]
        return found[0] if found else None

    async def create_once(self, obj: Object) -> bool:
        """Create an object and return whether that was done; one of this name is left as it is."""
        kind, path = kind_of(obj), _path(kind_of(obj), obj["metadata"]["namespace"])
        try:
            await self._write("create", kind, "POST", path, obj, query={"fieldManager": FIELD_MANAGER})
        except ClusterError as error:
            if error.code == _CONFLICT:
                return False
            raise
        return True

    async def annotate(
        self, obj: Object, annotations: Mapping[str, str | None], *, manager: str = FIELD_MANAGER
    ) -> None:
        """Set annotations of this object, or (None) remove them."""
        seen = {key: obj["metadata"][key] for key in ("uid", "resourceVersion") if key in obj["metadata"]}
        await self.merge(obj, {"metadata": {**seen, "annotations": dict(annotations)}}, manager=manager)

    async def merge(self, obj: Object, patch: Object, *, manager: str = FIELD_MANAGER) -> None:
        """Change fields of an object by a JSON merge patch."""
        kind, metadata = kind_of(obj), obj["metadata"]
        path = _path(kind, metadata["namespace"], metadata["name"])
        query = {"fieldManager": manager}
        await self._write("patch", kind, "PATCH", path, patch, content=_MERGE, query=query)

    async def scale(self, obj: Object, replicas: int, annotations: Mapping[str, str]) -> None:
        """Give this object other replicas, and set annotations of it; one that is gone is fine."""
        changed = {"uid": obj["metadata"]["uid"], "annotations": dict(annotations)}
        try:
            await self.merge(obj, {"metadata": changed, "spec": {"replicas": replicas}})
        except NotFoundError:
            return

    async def delete(self, obj: Object, grace_seconds: int | None = None) -> None:
        """Delete this object, if it still has the uid that was seen."""
        kind, metadata = kind_of(obj), obj["metadata"]
        # In the foreground, a StatefulSet and its ControllerRevisions are made and looked at again and again.
        options: Object = {"propagationPolicy": "Background", "preconditions": {"uid": metadata["uid"]}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        path = _path(kind, metadata["namespace"], metadata["name"])
        try:
            await self._write("delete", kind, "DELETE", path, options)
        except NotFoundError:
            return
        except ClusterError as error:
            if error.code != _CONFLICT:  # another object has this name now, so that ours is gone
                raise

    async def patch_status(self, resource: Object, status: Object) -> None:
        """Replace the operator's part of a DisaggDeployment's or DisaggScaler's status."""
        kind, metadata = kind_of(resource), resource["metadata"]
        # The uid keeps this status from a namesake that was created in the meantime.
        body = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {key: metadata[key] for key in ("name", "namespace", "uid")},
            "status": status,
        }
        path = f"{_path(kind, metadata['namespace'], metadata['name'])}/status"
        try:
            await self._write("apply", kind, "PATCH", path, body, content=_APPLY, query=_FORCED)
        except NotFoundError:
            return

    async def set_pod_condition(self, pod: Object, kind: str, *, holds: bool, reason: str) -> None:
        """Set a condition of this pod, which may be gone already."""
        metadata = pod["metadata"]
        condition = {
            "type": kind,
            "status": str(holds),
            "reason": reason,
            "lastTransitionTime": timestamp().isoformat().replace("+00:00", "Z"),
        }
        # The kubelet's conditions are others of the same list, which this patch merges by their type.
        body = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [condition]}}
        path = f"{_path(POD, metadata['namespace'], metadata['name'])}/status"
        query = {"fieldManager": FIELD_MANAGER}
        try:
            await self._write("patch", POD, "PATCH", path, body, content=_STRATEGIC, query=query)
        except NotFoundError:
            return
        except ClusterError as error:
            if error.code != _CONFLICT:  # another pod of the name
                raise

    async def set_finalizer(self, resource: Object, finalizer: str | None) -> None:
        """Have a DisaggDeployment carry the operator's finalizer, or (None) none."""
        metadata = resource["metadata"]
        # Server-side apply takes off what the operator put on once and leaves out now, and nothing of others.
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                **{key: metadata[key] for key in ("name", "namespace", "uid")},
                "finalizers": [] if finalizer is None else [finalizer],
            },
        }
        path = _path(DISAGG_DEPLOYMENT, metadata["namespace"], metadata["name"])
        try:
            await self._write("apply", DISAGG_DEPLOYMENT, "PATCH", path, body, content=_APPLY, query=_FORCED)
        except NotFoundError:
            return

    async def schema(self, kind: Kind) -> Object:
        """Return the OpenAPI schema of a kind. Everybody may read it.

        Raises:
            NotFoundError: there is none.
        """
        path = f"/openapi/v3{_root(kind)}"
        answer = await self._request("discover", kind, "GET", path)
        group, _, number = kind.api_version.rpartition("/")
        wanted = {"group": group, "version": number, "kind": kind.kind}
        for found in answer["components"]["schemas"].values():
            if wanted in found.get("x-kubernetes-group-version-kind", []):
                schema: Object = found
                return schema
        raise NotFoundError(_NOT_FOUND, "NotFound", f"there is no schema of {kind.kind}")

    async def events_about(self, obj: Object, reason: str) -> list[Object]:
        """Return the Events of one reason about an object."""
        metadata = obj["metadata"]
        query = {"fieldSelector": f"reason={reason},regarding.uid={metadata['uid']}"}
        answer = await self._request("list", EVENT, "GET", _path(EVENT, metadata["namespace"]), query=query)
        found: list[Object] = answer["items"]
        return found

    async def log(
        self, namespace: str, pod: str, container: str, *, most_bytes: int, tail_lines: int | None = None
    ) -> str:
        """Return the log of a container from its start, or its last lines.

        Args:
            namespace: of the pod.
            pod: name of the pod.
            container: name of the container.
            most_bytes: where to stop reading.
            tail_lines: how many of the last lines to read; None reads from the start.
        """
        query = {"container": container, "limitBytes": str(most_bytes)}
        if tail_lines is not None:
            query["tailLines"] = str(tail_lines)
        path = f"{_path(POD, namespace, pod)}/log"
        response = await self._send("get", _LOGS, "GET", path, query=query)
        return (await _body(response)).decode(errors="replace")

    @asynccontextmanager
    async def opened(
        self,
        verb: str,
        resource: str,
        path: str,
        *,
        method: str = "GET",
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        quiet: float = SECONDS,
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Send a request whose answer is no object, and read that as it comes: logs, and what pods serve.

        Args:
            verb: RBAC verb that it needs.
            resource: the resource that it needs it on, such as ``pods/log``.
            path: path of the API server.
            method: HTTP method.
            query: query of the URL.
            body: JSON to send.
            quiet: seconds without a byte after which it is broken off.
        """
        limits = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=quiet)
        kind = Kind("v1", resource, resource)
        response = await self._send(verb, kind, method, path, body, query=query, limits=limits)
        try:
            yield response.content.iter_any()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ClusterError(0, type(error).__name__, f"the answer broke off: {error}") from error
        finally:
            response.close()

    async def last_line(self, pod: Object, container: str) -> str:
        """Return the last line of a container's log, or nothing while there is none.

        Args:
            pod: the pod.
            container: name of the container.
        """
        place = pod["metadata"]["namespace"], pod["metadata"]["name"]
        text = await self.log(*place, container, most_bytes=_LINE_BYTES, tail_lines=1)
        return text.strip()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return an object.

        Raises:
            NotFoundError: there is none.
        """
        return await self._request("get", kind, "GET", _path(kind, namespace, name))

    async def create(self, kind: Kind, obj: Object) -> Object:
        """Create an object."""
        send = self._request if kind == LEASE else self._write
        return await send("create", kind, "POST", _path(kind, obj["metadata"]["namespace"]), obj)

    async def update(self, kind: Kind, obj: Object) -> Object:
        """Replace an object, unless it changed since the resource version that it carries."""
        metadata = obj["metadata"]
        return await self._request(
            "update", kind, "PUT", _path(kind, metadata["namespace"], metadata["name"]), obj
        )

    async def list_page(
        self,
        kind: Kind,
        namespace: str | None,
        selector: str,
        token: str | None,
        limit: int,
        *,
        fields: str = "",
    ) -> Object:
        """Return one page of a list, in the shape of a List object.

        Args:
            kind: kind of the objects.
            namespace: where to look; None looks everywhere.
            selector: label selector.
            token: where the last page ended, or None for the first.
            limit: objects per page at most.
            fields: field selector.
        """
        query = {"labelSelector": selector, "limit": str(limit), **({"continue": token} if token else {})}
        if fields:
            query["fieldSelector"] = fields
        return await self._request("list", kind, "GET", _path(kind, namespace), query=query)

    async def serves(self, kind: Kind) -> bool:
        """Tell whether the API server serves a kind. Everybody may ask that."""
        try:
            answer = await self._request("discover", kind, "GET", _root(kind))
        except NotFoundError:
            return False
        return any(resource["name"] == kind.plural for resource in answer["resources"])

    async def watch(
        self,
        kind: Kind,
        namespace: str | None,
        selector: str,
        since: str,
        *,
        lasting: float,
        quiet: float,
        fields: str = "",
    ) -> AsyncGenerator[Object]:
        """Yield watch events until the API server ends the watch.

        Args:
            kind: kind of the objects.
            namespace: where to look; None looks everywhere.
            selector: label selector.
            since: resource version to continue from.
            lasting: seconds after which the API server is to end it.
            quiet: seconds without a line after which TimeoutError is raised.
            fields: field selector.

        Raises:
            GoneError: the resource version is too old.
        """
        query = {
            "watch": "1",
            "labelSelector": selector,
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(lasting)),
        }
        if fields:
            query["fieldSelector"] = fields
        limits = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=quiet)
        response = await self._send("watch", kind, "GET", _path(kind, namespace), query=query, limits=limits)
        try:
            async for line in response.content:
                event = decode(line)
                if event["type"] == "ERROR":
                    raise _error(event["object"].get("code", 0), event["object"], None)
                yield event
        except TimeoutError:  # also a ClientError, but one with a meaning of its own here
            raise
        except aiohttp.ClientError as error:
            raise ClusterError(0, type(error).__name__, str(error)) from error
        finally:
            response.close()

    async def _write(
        self,
        verb: str,
        kind: Kind,
        *arguments: Any,
        query: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Object:
        async with self._places:
            seconds = min(self._fence(), SECONDS)
            # The API server heeds it, too: a slow webhook must let nothing happen once another process leads.
            bounded = {**(query or {}), "timeout": f"{seconds:.1f}s"}
            limits = aiohttp.ClientTimeout(total=seconds, connect=_CONNECT_SECONDS)
            answer = await self._request(verb, kind, *arguments, query=bounded, limits=limits, **options)
        # What is deleted is answered as it was, or by a Status.
        if verb != "delete":
            self._wrote(kind, answer)
        return answer

    async def _request(self, *arguments: Any, **options: Any) -> Object:
        answer: Object = decode(await _body(await self._send(*arguments, **options)))
        return answer

    async def _send(
        self,
        verb: str,
        kind: Kind,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content: str = _JSON,
        limits: aiohttp.ClientTimeout = _TIMEOUT,
    ) -> aiohttp.ClientResponse:
        lane = (verb, kind.kind)
        self._patience.check(lane)
        headers = {"Accept": _JSON, "Content-Type": content}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        headers["User-Agent"] = self._client.user_agent
        url = f"{self._client.configuration.host}{path}{'?' + urlencode(query) if query else ''}"
        try:
            answer = await self._client.call_api(method, url, headers, body, _request_timeout=limits)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._counted(verb, kind.kind, 0)
            raise ClusterError(0, type(error).__name__, str(error) or "no answer in time") from error
        response: aiohttp.ClientResponse = answer.response
        self._counted(verb, kind.kind, response.status)
        if response.status >= _FIRST_ERROR:
            refusal = _error(response.status, await _status(response), response.headers.get("Retry-After"))
            self._patience.note(lane, refusal)
            raise refusal
        return response


async def _body(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ClusterError(0, type(error).__name__, f"the answer broke off: {error}") from error


def _path(kind: Kind, namespace: str | None, name: str | None = None) -> str:
    within = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{_root(kind)}{within}/{kind.plural}{'/' + quote(name, safe='') if name else ''}"


def _root(kind: Kind) -> str:
    return f"{'/apis/' if '/' in kind.api_version else '/api/'}{kind.api_version}"


async def _status(response: aiohttp.ClientResponse) -> Object:
    """Return the Status object of an answer that is no success; proxies on the way answer in other forms."""
    try:
        text = await response.text(errors="replace")
    except (aiohttp.ClientError, TimeoutError) as error:  # the status alone says that it was refused
        return {"message": f"HTTP {response.status}, and the answer broke off: {error}"[:300]}
    try:
        status = json.loads(text)
    except ValueError:
        return {"message": text[:300].strip() or response.reason or ""}
    if not isinstance(status, dict):
        return {"message": str(status)[:300]}
    return status if "message" in status else {**status, "message": text[:300].strip()}


def _error(code: int, status: Object, retry_after: str | None) -> ClusterError:
    wait = float(retry_after) if retry_after and retry_after.isdigit() else None
    which = {_NOT_FOUND: NotFoundError, _GONE: GoneError}.get(code, ClusterError)
    return which(code, status.get("reason", ""), status.get("message", f"HTTP {code}"), wait)
