"""The pods' identity: a ServiceAccount that may use Kubernetes discovery and nothing else."""

from disagg_operator.build.metadata import Object, metadata
from disagg_operator.plan import names
from disagg_operator.plan.model import Plan


def service_account(plan: Plan) -> Object:
    """Return the ServiceAccount of the deployment's pods."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(plan, names.service_account(plan.name), names.WORKER),
    }


def role_binding(plan: Plan) -> Object:
    """Return the RoleBinding from the pods' ServiceAccount to the discovery role that the chart installs."""
    role = plan.discovery_role
    name = names.role_binding(plan.name, plan.service_account, f"{role.kind}/{role.name}")
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(plan, name, names.WORKER),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": role.kind,
            "name": role.name,
        },
        "subjects": [{"kind": "ServiceAccount", "name": plan.service_account, "namespace": plan.namespace}],
    }
