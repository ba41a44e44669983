"""STAND-IN for an API server and an operator, at the edge: what `kubectl disagg` reads is scripted."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from kubernetes.aio.client import Configuration

from disagg_operator.cli.live.connection import Connection
from disagg_operator.cli.place import Place
from disagg_operator.reconcile.errors import ClusterError, NotFoundError
from disagg_operator.reconcile.kinds import DISAGG_DEPLOYMENT, POD, STATEFUL_SET, Kind, Object

Answers = Callable[[str], list[Object]]
"""What the operator writes into the status for a request, one state after the other."""


def deployment(transport: Object | None = None, *, prefill: int = 1, **spec: Any) -> Object:
    """Return a deployment that is ready, but for prefill workers."""
    roles = {
        "prefill": {"readyReplicas": prefill, "desiredReplicas": 1},
        "decode": {"readyReplicas": 1, "desiredReplicas": 1},
        "frontend": {"readyReplicas": 1, "desiredReplicas": 1},
    }
    return {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": "llama", "namespace": "models", "uid": "u", "resourceVersion": "1"},
        "spec": spec,
        "status": {
            "observedGeneration": 1,
            "revision": "r",
            "updateRevision": "r",
            "roles": roles,
            "transport": {"configured": "NIXL/UCX", **(transport or {})},
        },
    }


def refusal(verb: str) -> ClusterError:
    """Return what an API server says to who lacks a right."""
    return ClusterError(403, "Forbidden", f'User "ann" cannot {verb} resource')


class FakeCluster:
    """Holds one deployment, and answers its annotation as an operator would."""

    def __init__(self, resource: Object | None, answers: Answers = lambda _: []) -> None:
        """Make a cluster.

        Args:
            resource: the deployment, or None for no such.
            answers: what the operator writes.
        """
        self.resource, self._answers = resource, answers
        self.events: list[Object] = []
        self.refused: set[tuple[str, str]] = set()
        """Verb and kind of what may not be done."""
        self.conflicts = 0
        self.annotated: list[str] = []
        self.merged: list[Object] = []
        self.children: list[Object] = []
        self._states: asyncio.Queue[Object] = asyncio.Queue()

    @asynccontextmanager
    async def connect(self, place: Place) -> AsyncIterator[Connection]:
        """Stand in for `connection.connect`."""
        namespace = place.namespace or "models"
        yield Connection(self, Configuration(), namespace)  # type: ignore[arg-type]

    def _check(self, verb: str, kind: Kind) -> None:
        if (verb, kind.kind) in self.refused:
            raise refusal(verb)

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        self._check("get", kind)
        if self.resource is None or namespace != "models":
            raise NotFoundError(404, "NotFound", f"{name} not found")
        return self.resource

    async def merge(self, obj: Object, patch: Object, *, manager: str) -> None:
        self._check("patch", DISAGG_DEPLOYMENT)
        assert manager == "kubectl-disagg"
        self.merged.append(patch)
        self.resource = {**obj, "spec": {**obj["spec"], **patch["spec"]}}

    async def annotate(self, obj: Object, annotations: Mapping[str, str], *, manager: str) -> None:
        self._check("patch", DISAGG_DEPLOYMENT)
        if self.conflicts:
            self.conflicts -= 1
            raise ClusterError(409, "Conflict", "changed meanwhile")
        assert manager == "kubectl-disagg"
        (request,) = annotations.values()
        self.annotated.append(request)
        self.resource = {**obj, "metadata": {**obj["metadata"], "annotations": dict(annotations)}}
        for state in self._answers(request):
            self._states.put_nowait({**state, "metadata": {**self.resource["metadata"], **state["metadata"]}})

    async def list_page(
        self, kind: Kind, namespace: str, selector: str, token: str | None, limit: int, *, fields: str = ""
    ) -> Object:
        self._check("list", kind)
        if kind in (STATEFUL_SET, POD):
            assert (namespace, selector) == ("models", "disagg.dev/deployment=llama")
            # As a real API server does: what a list holds does not say its kind.
            found = [each for each in self.children if each["kind"] == kind.kind]
            items = [{key: each[key] for key in each if key != "kind"} for each in found]
            half = len(items) // 2
            more = {"continue": "more"} if token is None and half else {}
            return {"metadata": more, "items": items[:half] if more else items[half:]}
        assert (namespace, selector, token, limit, fields) == ("models", "", None, 1, "regarding.uid=u")
        return {"metadata": {"resourceVersion": "7"}, "items": []}

    async def watch(
        self, kind: Kind, namespace: str, selector: str, since: str, **more: Any
    ) -> AsyncGenerator[Object]:
        self._check("watch", kind)
        assert (namespace, selector) == ("models", "")
        if kind == DISAGG_DEPLOYMENT:
            assert (since, more["fields"]) == ("1", "metadata.name=llama")
            while True:
                state = await self._states.get()
                await asyncio.sleep(0.01)  # lets Events come first
                yield {"type": state.pop("event", "MODIFIED"), "object": state}
        for event in self.events:
            yield {"type": "ADDED", "object": event}
        await asyncio.Event().wait()
