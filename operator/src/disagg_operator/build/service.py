"""Services: the address of the frontend, and the headless ones through which workers are discovered."""

from collections.abc import Iterable, Sequence

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


def worker_services(plan: Plan) -> list[Object]:
    """Return the headless Services that find ready workers: one for each selector that they need."""
    roles: dict[str, list[RolePlan]] = {}
    for role in plan.roles.values():
        roles.setdefault(role.service, []).append(role)
    return [_worker_service(plan, name, sharing) for name, sharing in roles.items()]


def _worker_service(plan: Plan, name: str, roles: Sequence[RolePlan]) -> Object:
    """Return the headless Service that finds the ready pods of some roles; of pod groups, the leaders."""
    component = roles[0].role if len(roles) == 1 else names.WORKER
    described = metadata(plan, name, component, plan.revision)
    selector = names.revision_selector(plan.name, plan.revision, None if len(roles) > 1 else component)
    leaders = {} if roles[0].group is None else {names.LABEL_POD_INDEX: "0"}
    ports = {port.name: port for role in roles for port in role.pod.ports}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**described, "labels": {**described["labels"], **plan.frontend.worker_labels}},
        "spec": {
            "clusterIP": "None",
            "selector": {**selector, **leaders},
            "ports": _ports(ports.values()),
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
