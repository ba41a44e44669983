"""Reads from a cluster what ``kubectl disagg status`` tells."""

from typing import Any

from disagg_operator.cli.live.agents import evidence
from disagg_operator.cli.live.asking import deployment
from disagg_operator.cli.live.children import children, deployments
from disagg_operator.cli.live.connection import Connection
from disagg_operator.cli.live.rollouts import instances_of, revisions_of
from disagg_operator.cli.overview import overview, summary
from disagg_operator.reconcile.kinds import POD, STATEFUL_SET


async def one(connection: Connection, name: str, *, nics: bool) -> dict[str, Any]:
    """Return all that is told of a deployment; see `overview.overview`.

    Args:
        connection: the cluster.
        name: name of the deployment.
        nics: whether the agents beside its workers are asked.

    Raises:
        UserError: there is no such deployment, or it may not be read.
    """
    resource = await deployment(connection, name)
    pods = await children(connection, POD, name)
    sets = await children(connection, STATEFUL_SET, name)
    told = await evidence(connection, pods) if nics else None
    return overview(resource, pods, instances_of(revisions_of([*sets, *pods])), told)


async def every(connection: Connection, *, everywhere: bool) -> list[dict[str, Any]]:
    """Return what is told of the deployments of a namespace, or of all; see `overview.summary`.

    Raises:
        UserError: they may not be listed.
    """
    found = await deployments(connection, everywhere=everywhere)
    return [summary(resource) for resource in found]
