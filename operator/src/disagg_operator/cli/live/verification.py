"""Asks the operator for a verification, and follows it to its result.

Invariants: the annotation is the only thing that is written; whoever may not read Events still sees steps and
result; an operator that does not answer is told from one that has to wait.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from disagg_operator.cli.live.asking import ask, deployment
from disagg_operator.cli.live.connection import Connection, told
from disagg_operator.cli.steps import Teller
from disagg_operator.cli.terminal import UserError
from disagg_operator.cli.transport_report import Progress, obstacle, progress, transport
from disagg_operator.cli.waiting import doctor
from disagg_operator.plan.names import ANNOTATION_VERIFY
from disagg_operator.reconcile.errors import ClusterError, GoneError
from disagg_operator.reconcile.kinds import DISAGG_DEPLOYMENT, Key, Object
from disagg_operator.runtime.events import EVENT

_LASTING, _QUIET = 240.0, 300.0
_RECONNECT_SECONDS = 1.0
_TRANSIENT = 500
_EVENT_STYLES = {"Warning": "yellow"}


class TimedOutError(UserError):
    """The result did not come in time."""


@dataclass(frozen=True)
class Patience:
    """How long is waited, in seconds.

    Attributes:
        result: for the result.
        operator: for a sign of the operator, once it has nothing to wait for.
    """

    result: float
    operator: float = 30.0


async def read(connection: Connection, name: str) -> Object:
    """Return a deployment that can be verified.

    Raises:
        UserError: there is none, or it is not verified at all.
    """
    return _verifiable(await deployment(connection, name))


async def verified(connection: Connection, name: str, patience: Patience, teller: Teller) -> Object:
    """Have a deployment verified, and return it with the result in its status.

    Args:
        connection: the cluster.
        name: name of the deployment.
        patience: how long is waited.
        teller: is told each step and Event.

    Raises:
        UserError: it cannot be verified, or the operator does not answer.
        TimedOutError: the result did not come in time.
    """
    events = _Events(connection, teller)
    await events.begin(await read(connection, name))
    resource, request = await ask(connection, name, ANNOTATION_VERIFY, read)
    teller.say(f"asked the operator: annotation {ANNOTATION_VERIFY}={request}")
    following = _Following(connection, resource, request, patience, teller)
    watching = asyncio.create_task(events.show())
    try:
        return await following.to_the_end()
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _verifiable(resource: Object) -> Object:
    why = obstacle(resource)
    if why:
        raise UserError(why)
    return resource


class _Following:
    """Follows one request."""

    def __init__(
        self, connection: Connection, before: Object, request: str, patience: Patience, teller: Teller
    ) -> None:
        self._connection, self._request, self._patience, self._teller = connection, request, patience, teller
        self._resource, self._before = before, transport(before)
        self._key = Key(connection.namespace, before["metadata"]["name"])
        self._clock = asyncio.get_running_loop().time
        self._deadline = self._clock() + patience.result
        self._patient_until = self._clock() + patience.operator

    async def to_the_end(self) -> Object:
        """Return the deployment once the request is answered."""
        states = self._states()
        last = ""
        try:
            while True:
                now = progress(self._resource, self._request, self._before)
                if now.done:
                    return self._resource
                if now.step != last:
                    last = now.step
                    self._teller.say(now.step)
                    self._teller.now(f"{self._key}: {now.step}")
                if now.heard or now.waits:
                    self._patient_until = self._clock() + self._patience.operator
                self._resource = await self._next(states, now)
                self._follow_the_newest_request()
        finally:
            await states.aclose()

    async def _next(self, states: AsyncGenerator[Object], now: Progress) -> Object:
        """Return the next state of the deployment, or raise where patience ends."""
        patient = now.heard or now.waits
        until = self._deadline if patient else min(self._deadline, self._patient_until)
        try:
            async with asyncio.timeout_at(until):
                return _verifiable(await anext(states))
        except TimeoutError:
            if self._clock() >= self._deadline:
                raise TimedOutError(self._lateness(now)) from None
            raise UserError(self._silence()) from None

    def _lateness(self, now: Progress) -> str:
        return (
            f"no result within {self._patience.result:g} s. Last seen: {now.step}. The request stays, and "
            f"`kubectl disagg verify {self._key.name} --namespace {self._key.namespace} --no-run` shows the "
            f"result once there is one; `{doctor(self._resource)}` says what the deployment lacks."
        )

    def _silence(self) -> str:
        return (
            f"no operator has taken the request up within {self._patience.operator:g} s. Is one running that "
            f"watches namespace {self._key.namespace}? Look: kubectl get pods --all-namespaces --selector "
            "app.kubernetes.io/name=disagg-operator; kubectl logs --namespace NAMESPACE "
            "deployment/disagg-operator"
        )

    def _follow_the_newest_request(self) -> None:
        request = self._resource["metadata"].get("annotations", {}).get(ANNOTATION_VERIFY, "")
        if request and request != self._request:
            self._teller.say(f"somebody asked again ({ANNOTATION_VERIFY}={request}): following that")
            self._request = request

    async def _states(self) -> AsyncGenerator[Object]:
        """Yield the deployment at each of its changes."""
        while True:
            with told(self._connection, "get", DISAGG_DEPLOYMENT, self._key.name):
                resource = await self._read_patiently()
            yield resource
            with told(self._connection, "watch", DISAGG_DEPLOYMENT, self._key.name):
                async for state in self._changes(resource["metadata"]["resourceVersion"]):
                    yield state

    async def _read_patiently(self) -> Object:
        """Read the deployment; an API server that restarts is waited for until time is up."""
        while True:
            try:
                return await self._connection.cluster.get(DISAGG_DEPLOYMENT, *_names(self._key))
            except ClusterError as error:
                if error.code and error.code < _TRANSIENT:
                    raise
                self._teller.now(f"the API server does not answer ({error}); trying again")
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _changes(self, since: str) -> AsyncGenerator[Object]:
        """Yield changes until the watch ends or breaks."""
        namespace, name = _names(self._key)
        watch = self._connection.cluster.watch(
            DISAGG_DEPLOYMENT,
            namespace,
            "",
            since,
            lasting=_LASTING,
            quiet=_QUIET,
            fields=f"metadata.name={name}",
        )
        try:
            async for event in watch:
                if event["type"] == "DELETED":
                    raise UserError(f"{self._key} was deleted meanwhile.")
                if event["type"] != "BOOKMARK":
                    yield event["object"]
        except (GoneError, TimeoutError):
            return
        except ClusterError as error:
            if error.code and error.code < _TRANSIENT:
                raise
            await asyncio.sleep(_RECONNECT_SECONDS)
        finally:
            await watch.aclose()


class _Events:
    """Shows the Events of a deployment that are new."""

    def __init__(self, connection: Connection, teller: Teller) -> None:
        self._connection, self._teller = connection, teller
        self._since, self._fields = "", ""

    async def begin(self, resource: Object) -> None:
        """Note which Events are old."""
        self._fields = f"regarding.uid={resource['metadata']['uid']}"
        try:
            with told(self._connection, "list", EVENT):
                page = await self._connection.cluster.list_page(
                    EVENT, self._connection.namespace, "", None, 1, fields=self._fields
                )
        except UserError as error:
            self._teller.say(f"Events are not shown: {error}", "yellow")
        else:
            self._since = page["metadata"]["resourceVersion"]

    async def show(self) -> None:
        """Show new Events until cancelled. A watch that breaks is not worth an error: Events are news."""
        if not self._since:
            return
        watch = self._connection.cluster.watch(
            EVENT,
            self._connection.namespace,
            "",
            self._since,
            lasting=3600.0,
            quiet=3600.0,
            fields=self._fields,
        )
        try:
            async for event in watch:
                if event["type"] in {"ADDED", "MODIFIED"}:
                    found = event["object"]
                    text = f"Event {found.get('reason', '')}: {found.get('note', '')}"
                    self._teller.say(text, _EVENT_STYLES.get(found.get("type", ""), "cyan"))
        except (ClusterError, TimeoutError) as error:
            self._teller.say(f"Events are not shown any more: {error}", "yellow")
        finally:
            await watch.aclose()


def _names(key: Key) -> tuple[str, str]:
    return key.namespace, key.name
