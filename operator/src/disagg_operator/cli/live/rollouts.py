"""Reads a rollout from a cluster, follows it, and writes the little by which a user steers it."""

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus

from disagg_operator.cli.live.connection import Connection, told
from disagg_operator.cli.rollout_report import is_done, progressing
from disagg_operator.cli.steps import Teller
from disagg_operator.cli.terminal import UserError
from disagg_operator.plan.names import ANNOTATION_RETRY, LABEL_DEPLOYMENT
from disagg_operator.plan.rollout.stepper import RoleObservation
from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.reconcile.kinds import DISAGG_DEPLOYMENT, POD, STATEFUL_SET, Kind, Object
from disagg_operator.reconcile.observe import observe

MANAGER = "kubectl-disagg"
_PAGE = 500
_POLL_SECONDS = 1.0
_TRIES = 5

Revisions = dict[str, dict[str, RoleObservation]]


class TimedOutError(UserError):
    """The rollout did not end in time."""


async def read(connection: Connection, name: str) -> Object:
    """Return a deployment.

    Raises:
        UserError: there is none, or it may not be read.
    """
    with told(connection, "get", DISAGG_DEPLOYMENT, name):
        return await connection.cluster.get(DISAGG_DEPLOYMENT, connection.namespace, name)


async def find(connection: Connection, name: str) -> Object | None:
    """Return a deployment, or None where there is none."""
    with told(connection, "get", DISAGG_DEPLOYMENT, name):
        try:
            return await connection.cluster.get(DISAGG_DEPLOYMENT, connection.namespace, name)
        except ClusterError as error:
            if error.code == HTTPStatus.NOT_FOUND and error.reason == "NotFound":
                return None
            raise


async def revisions(connection: Connection, name: str) -> Revisions:
    """Return what is there of a deployment's workers, by revision and role."""
    found = [obj for kind in (STATEFUL_SET, POD) for obj in await _all(connection, kind, name)]
    return observe(found).revisions(datetime.now(UTC))


async def follow(connection: Connection, name: str, seconds: float, teller: Teller) -> Object:
    """Return the deployment once nothing goes on any more.

    Args:
        connection: the cluster.
        name: name of the deployment.
        seconds: longest wait.
        teller: is told each change.

    Raises:
        TimedOutError: the rollout went on for longer.
        UserError: there is no such deployment.
    """
    clock = asyncio.get_running_loop().time
    deadline, last = clock() + seconds, ""
    while True:
        resource = await read(connection, name)
        condition = progressing(resource)
        if condition["message"] != last:
            last = condition["message"]
            teller.say(f"{condition['reason']}: {last}")
        if is_done(condition):
            return resource
        if clock() >= deadline:
            raise TimedOutError(f"the rollout is not done within {seconds:g} s. Last seen: {last}")
        await asyncio.sleep(_POLL_SECONDS)


async def pause(connection: Connection, name: str, *, paused: bool) -> bool:
    """Pause a rollout, or let it go on, and return whether that changed anything."""
    resource = await read(connection, name)
    if resource["spec"].get("rollout", {}).get("paused", False) == paused:
        return False
    with told(connection, "patch", DISAGG_DEPLOYMENT, name):
        await connection.cluster.merge(resource, {"spec": {"rollout": {"paused": paused}}}, manager=MANAGER)
    return True


async def retry(connection: Connection, name: str) -> str:
    """Ask for another try of a revision that was given up, and return that revision.

    Raises:
        UserError: none was given up.
    """
    for attempt in range(_TRIES):
        resource = await read(connection, name)
        record = resource.get("status", {}).get("rollout", {})
        if "failedReason" not in record:
            raise UserError(f"no revision of {name} was given up, so that there is nothing to try again.")
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            with told(connection, "patch", DISAGG_DEPLOYMENT, name):
                await _annotate(connection, resource, now)
        except _ChangedMeanwhileError:
            await asyncio.sleep(0.1 * attempt)
        else:
            return str(record["revision"])
    raise UserError(f"{name} changes all the time, so that it could not be annotated: try again.")


class _ChangedMeanwhileError(Exception):
    """The object changed between reading and writing."""


async def _annotate(connection: Connection, resource: Object, request: str) -> None:
    try:
        await connection.cluster.annotate(resource, {ANNOTATION_RETRY: request}, manager=MANAGER)
    except ClusterError as error:
        if error.code == HTTPStatus.CONFLICT:
            raise _ChangedMeanwhileError from None
        raise


async def _all(connection: Connection, kind: Kind, name: str) -> list[Object]:
    selector, token, found = f"{LABEL_DEPLOYMENT}={name}", None, []
    with told(connection, "list", kind):
        while True:
            page = await connection.cluster.list_page(kind, connection.namespace, selector, token, _PAGE)
            found += [{**item, "kind": kind.kind, "apiVersion": kind.api_version} for item in page["items"]]
            token = page["metadata"].get("continue")
            if not token:
                return found
