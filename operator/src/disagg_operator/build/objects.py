"""All objects of a plan, in the order in which they are applied: what others refer to comes first."""

from disagg_operator.api.v1alpha1.discovery import DiscoveryBackend
from disagg_operator.build.computedomain import compute_domain
from disagg_operator.build.configmap import frontend_config_map, worker_config_map
from disagg_operator.build.deployment import frontend_deployment
from disagg_operator.build.discovery import discovery_objects
from disagg_operator.build.disruption import disruption_budgets
from disagg_operator.build.download import download_job
from disagg_operator.build.gang import gang_objects
from disagg_operator.build.metadata import Object
from disagg_operator.build.networkpolicy import network_policies
from disagg_operator.build.rbac import role_binding, service_account
from disagg_operator.build.scaler import scaler
from disagg_operator.build.secret import request_key_secret, ssh_key_secret
from disagg_operator.build.service import all_pods_service, frontend_service, worker_services
from disagg_operator.build.statefulset import worker_stateful_sets
from disagg_operator.plan.model import Plan


def shared_objects(plan: Plan) -> list[Object]:
    """Return what outlives revisions: fences, discovery, download, identity, budgets and frontend."""
    account = [service_account(plan)] if plan.own_service_account else []
    binding = [role_binding(plan)] if plan.discovery.backend == DiscoveryBackend.KUBERNETES else []
    services = discovery_objects(plan)
    download = [] if plan.download is None else [download_job(plan, plan.download)]
    key = plan.frontend.request_key
    keyed = [] if key is None else [request_key_secret(plan, key)]
    files = [frontend_config_map(plan)] if plan.frontend.files else []
    front_door = [*keyed, *files, frontend_service(plan), frontend_deployment(plan)]
    return [
        *network_policies(plan),
        *services,
        *download,
        *account,
        *binding,
        *disruption_budgets(plan),
        *front_door,
    ]


def scaler_objects(plan: Plan) -> list[Object]:
    """Return the scalers, which outlive revisions too. Nothing waits for them, so they come last."""
    return [scaler(plan, each) for each in plan.scalers]


def domain_objects(plan: Plan) -> list[Object]:
    """Return the ComputeDomain, where one is made for the deployment. It comes before the workers."""
    domain = plan.compute_domain
    return [] if domain is None or domain.adopted else [compute_domain(plan, domain)]


def worker_objects(plan: Plan) -> list[Object]:
    """Return the workers of the plan's revision."""
    found = [worker_config_map(plan), *worker_services(plan)]
    for role in plan.roles.values():
        if role.group is not None:
            keyed = role.replicas and role.group.ssh is not None
            found += [ssh_key_secret(plan, role)] if keyed else []
            found += [all_pods_service(plan, role, role.group)]
        found += [*worker_stateful_sets(plan, role), *gang_objects(plan, role)]
    return found
