"""ComputeDomains: the NVLink domain of a deployment's workers.

It has no owner reference: with one, a foreground deletion (as of Argo CD) would delete it together with the
workers, and NVIDIA's driver would take the NVLink of running pods away at once. It is deleted after the last
worker instead, which a finalizer of the DisaggDeployment waits for.
"""

from disagg_operator.build.metadata import Object
from disagg_operator.plan import names
from disagg_operator.plan.model import ComputeDomainPlan, Plan

API_VERSION = "resource.nvidia.com/v1beta1"
KIND = "ComputeDomain"
_COMPONENT = "worker"


def compute_domain(plan: Plan, domain: ComputeDomainPlan) -> Object:
    """Return the ComputeDomain that is made for a deployment. Its specification can never change."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": domain.name,
            "namespace": plan.namespace,
            "labels": names.labels(plan.name, _COMPONENT),
        },
        "spec": {
            "numNodes": domain.num_nodes,
            "channel": {"resourceClaimTemplate": {"name": domain.template}},
        },
    }
