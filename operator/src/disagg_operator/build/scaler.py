"""DisaggScalers: where kubectl, HPA and KEDA write the replica count of a role."""

from disagg_operator.api.v1alpha1 import API_VERSION, SCALER_KIND
from disagg_operator.build.metadata import Object, metadata
from disagg_operator.plan.model import Plan, ScalerPlan


def scaler(plan: Plan, scaled: ScalerPlan) -> Object:
    """Return the scaler of a role. Its count is what a new one starts with, and never written again."""
    return {
        "apiVersion": API_VERSION,
        "kind": SCALER_KIND,
        "metadata": metadata(plan, scaled.name, scaled.role),
        "spec": {"replicas": scaled.replicas},
    }
