"""Services: the address of the frontend, and the headless ones through which workers are discovered."""

from collections.abc import Iterable

from disagg_operator.build.metadata import Object, metadata
from disagg_operator.plan import names
from disagg_operator.plan.model import GroupPlan, Plan, Port, RolePlan


def frontend_service(plan: Plan) -> Object:
    """Return the Service that clients send requests to."""
    port = plan.frontend.port
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(plan, names.frontend(plan.name), names.FRONTEND),
        "spec": {
            "selector": names.selector(plan.name, names.FRONTEND),
            "ports": [{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def worker_service(plan: Plan, role: RolePlan) -> Object:
    """Return the headless Service of a role, which finds its ready pods; of pod groups, the leaders."""
    name = names.worker(plan.name, role.role, plan.revision)
    described = metadata(plan, name, role.role, plan.revision)
    leaders = {} if role.group is None else {names.LABEL_POD_INDEX: "0"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**described, "labels": {**described["labels"], **plan.frontend.worker_labels}},
        "spec": {
            "clusterIP": "None",
            "selector": {**names.selector(plan.name, role.role, plan.revision), **leaders},
            "ports": _ports(role.pod.ports),
        },
    }


def all_pods_service(plan: Plan, role: RolePlan, group: GroupPlan) -> Object:
    """Return the headless Service that gives each pod of a role's pod groups a name before it is ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(
            plan, names.all_pods(plan.name, role.role, plan.revision), role.role, plan.revision
        ),
        "spec": {
            "clusterIP": "None",
            # Ranks meet before any of them is ready.
            "publishNotReadyAddresses": True,
            "selector": names.selector(plan.name, role.role, plan.revision),
            "ports": _ports(group.ports),
        },
    }


def _ports(ports: Iterable[Port]) -> list[Object]:
    return [
        {"name": port.name, "port": port.number, "targetPort": port.name, "protocol": "TCP"} for port in ports
    ]
