"""Deployments: the frontend."""

from dataclasses import replace

from disagg_operator.build.configmap import frontend_files_name
from disagg_operator.build.metadata import Object, metadata
from disagg_operator.build.pods import pod_template
from disagg_operator.plan import names
from disagg_operator.plan.model import Mount, Plan


def frontend_deployment(plan: Plan) -> Object:
    """Return the Deployment of the HTTP front door. It outlives revisions of the workers."""
    pod = plan.frontend.pod
    if plan.frontend.files:
        files = {"configMap": {"name": frontend_files_name(plan)}}
        config = Mount("config", plan.frontend.files_path, files, read_only=True)
        pod = replace(pod, mounts=(*pod.mounts, config))
    labels = names.labels(plan.name, names.FRONTEND)
    if plan.frontend.reach:
        labels[names.LABEL_REACH] = plan.frontend.reach
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(plan, names.frontend(plan.name), names.FRONTEND),
        "spec": {
            "replicas": plan.frontend.replicas,
            # No frontend is taken away before its successor is ready.
            "strategy": _strategy(0),
            "selector": {"matchLabels": names.selector(plan.name, names.FRONTEND)},
            "template": pod_template(pod, names.FRONTEND, labels),
        },
    }


def giving_way(deployment: Object) -> Object:
    """Return a frontend's Deployment whose old pods go without waiting for new ones: they serve nobody."""
    return {**deployment, "spec": {**deployment["spec"], "strategy": _strategy("100%")}}


def _strategy(unavailable: int | str) -> Object:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": 1}}
