"""Lists objects of a cluster, page by page."""

from disagg_operator.cli.live.connection import Connection, told
from disagg_operator.plan.names import LABEL_DEPLOYMENT
from disagg_operator.reconcile.kinds import DISAGG_DEPLOYMENT, Kind, Object

_PAGE = 500


async def children(connection: Connection, kind: Kind, name: str) -> list[Object]:
    """Return the objects of a kind that belong to a deployment.

    Args:
        connection: the cluster.
        kind: kind of the objects.
        name: name of the deployment.

    Raises:
        UserError: they may not be listed.
    """
    return await listed(connection, kind, connection.namespace, f"{LABEL_DEPLOYMENT}={name}")


async def deployments(connection: Connection, *, everywhere: bool) -> list[Object]:
    """Return the deployments of the connection's namespace, or of all.

    Raises:
        UserError: they may not be listed.
    """
    return await listed(connection, DISAGG_DEPLOYMENT, None if everywhere else connection.namespace)


async def listed(
    connection: Connection, kind: Kind, namespace: str | None, selector: str = "", *, fields: str = ""
) -> list[Object]:
    """Return all objects of a kind, each with its kind, which a list leaves out.

    Args:
        connection: the cluster.
        kind: kind of the objects.
        namespace: where to look; None looks everywhere.
        selector: label selector.
        fields: field selector.

    Raises:
        UserError: they may not be listed.
    """
    token, found = None, []
    with told(connection, "list", kind):
        while True:
            page = await connection.cluster.list_page(kind, namespace, selector, token, _PAGE, fields=fields)
            found += [{**item, "kind": kind.kind, "apiVersion": kind.api_version} for item in page["items"]]
            token = page["metadata"].get("continue")
            if not token:
                return found
