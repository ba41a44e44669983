"""Reads a rollout from a cluster, follows it, and writes the little by which a user steers it."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from disagg_operator.cli.live.asking import MANAGER, ask, deployment
from disagg_operator.cli.live.children import children
from disagg_operator.cli.live.connection import Connection, told
from disagg_operator.cli.overview import Instances
from disagg_operator.cli.rollout_report import is_done, kept, progressing
from disagg_operator.cli.steps import Teller
from disagg_operator.cli.terminal import UserError
from disagg_operator.plan.names import ANNOTATION_REPLAN, ANNOTATION_RETRY
from disagg_operator.plan.rollout.stepper import RoleObservation
from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.reconcile.kinds import DISAGG_DEPLOYMENT, POD, STATEFUL_SET, Object
from disagg_operator.reconcile.observe import observe
from disagg_operator.reconcile.reporting.log_prefixes import without_prefixes

_POLL_SECONDS = 1.0

Revisions = Mapping[str, Mapping[str, RoleObservation]]


class TimedOutError(UserError):
    """The rollout did not end in time."""


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
    return revisions_of(
        [obj for kind in (STATEFUL_SET, POD) for obj in await children(connection, kind, name)]
    )


def revisions_of(objects: list[Object]) -> Revisions:
    """Return what is there of workers, of their StatefulSets and pods."""
    return observe(objects).revisions(datetime.now(UTC))


def instances_of(found: Revisions) -> Instances:
    """Return how many instances are ready and asked for, of what is there of workers."""
    return {
        revision: {role: (seen.ready, seen.asked) for role, seen in roles.items()}
        for revision, roles in found.items()
    }


async def follow(connection: Connection, name: str, seconds: float, teller: Teller) -> Object:
    """Return the deployment once nothing goes on any more.

    Args:
        connection: the cluster.
        name: name of the deployment.
        seconds: longest wait.
        teller: is told each change; what differs in time and process of a log's line is none.

    Raises:
        TimedOutError: the rollout went on for longer.
        UserError: there is no such deployment.
    """
    clock = asyncio.get_running_loop().time
    deadline, last, measured = clock() + seconds, "", ""
    while True:
        resource = await deployment(connection, name)
        condition = progressing(resource)
        message = without_prefixes(condition["message"])
        if message != last:
            last = message
            teller.say(f"{condition['reason']}: {last}")
        # A revision may have to be verified before it serves, which takes the longest of a small one.
        step = resource.get("status", {}).get("transport", {}).get("step") or ""
        if step not in ("", measured):
            teller.say(f"measures how KV cache moves: {step}")
        measured = step
        if is_done(condition):
            return resource
        if clock() >= deadline:
            raise TimedOutError(f"the rollout is not done within {seconds:g} s. Last seen: {last}")
        await asyncio.sleep(_POLL_SECONDS)


async def pause(connection: Connection, name: str, *, paused: bool) -> bool:
    """Pause a rollout, or let it go on, and return whether that changed anything."""
    resource = await deployment(connection, name)
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
    resource, _ = await ask(connection, name, ANNOTATION_RETRY, _given_up)
    return str(resource["status"]["rollout"]["revision"])


async def update(connection: Connection, name: str) -> str:
    """Ask for the pods that the operator's version plans, and return what it keeps of an older one.

    Raises:
        UserError: it keeps none.
    """
    resource, _ = await ask(connection, name, ANNOTATION_REPLAN, _behind)
    return kept(resource)


async def _behind(connection: Connection, name: str) -> Object:
    resource = await deployment(connection, name)
    if not kept(resource):
        raise UserError(f"the pods of {name} are those that this version of the operator plans.")
    return resource


async def _given_up(connection: Connection, name: str) -> Object:
    resource = await deployment(connection, name)
    if "failedReason" not in resource.get("status", {}).get("rollout", {}):
        raise UserError(f"no revision of {name} was given up, so that there is nothing to try again.")
    return resource
