"""Deployments: the frontend."""

from disagg_operator.build.metadata import Object, metadata
from disagg_operator.build.pods import pod_template
from disagg_operator.plan import names
from disagg_operator.plan.model import Plan


def frontend_deployment(plan: Plan) -> Object:
    """Return the Deployment of the HTTP front door. It outlives revisions of the workers."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(plan, names.frontend(plan.name), names.FRONTEND),
        "spec": {
            "replicas": plan.frontend.replicas,
            # No frontend is taken away before its successor is ready.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": names.selector(plan.name, names.FRONTEND)},
            "template": pod_template(
                plan.frontend.pod, names.FRONTEND, names.labels(plan.name, names.FRONTEND)
            ),
        },
    }
