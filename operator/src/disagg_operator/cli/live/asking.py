"""Asks the operator for something by an annotation whose text is new each time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus

from disagg_operator.cli.live.connection import Connection, told
from disagg_operator.cli.terminal import UserError
from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.reconcile.kinds import DISAGG_DEPLOYMENT, Object

MANAGER = "kubectl-disagg"
"""Field manager of what a user changes by a command."""
_TRIES = 5

Read = Callable[[Connection, str], Awaitable[Object]]


async def deployment(connection: Connection, name: str) -> Object:
    """Return a deployment.

    Raises:
        UserError: there is none, or it may not be read.
    """
    with told(connection, "get", DISAGG_DEPLOYMENT, name):
        return await connection.cluster.get(DISAGG_DEPLOYMENT, connection.namespace, name)


async def ask(connection: Connection, name: str, annotation: str, read: Read) -> tuple[Object, str]:
    """Set an annotation, and return the deployment as it was just before, and the text.

    Args:
        connection: the cluster.
        name: name of the deployment.
        annotation: name of the annotation.
        read: reads the deployment; raises UserError where nothing may be asked of it.

    Raises:
        UserError: it could not be annotated.
    """
    request = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for attempt in range(_TRIES):
        resource = await read(connection, name)
        try:
            with told(connection, "patch", DISAGG_DEPLOYMENT, name):
                await _annotate(connection, resource, {annotation: request})
        except _ChangedMeanwhileError:
            await asyncio.sleep(0.1 * attempt)
        else:
            return resource, request
    raise UserError(f"{name} changes all the time, so that it could not be annotated: try again.")


class _ChangedMeanwhileError(Exception):
    """The object changed between reading and writing."""


async def _annotate(connection: Connection, resource: Object, annotations: dict[str, str]) -> None:
    try:
        await connection.cluster.annotate(resource, annotations, manager=MANAGER)
    except ClusterError as error:
        if error.code == HTTPStatus.CONFLICT:
            raise _ChangedMeanwhileError from None
        raise
