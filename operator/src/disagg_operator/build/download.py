"""What fetches a model into a cache: a Job for a shared volume, an init container for one of the node.

A Job is made once and never changed: another download is another Job. Its pod is tried again for as long as
the deployment wants the model, with Kubernetes' own pauses of up to five minutes.
"""

from disagg_operator.build.environment import variable
from disagg_operator.build.metadata import Object, metadata
from disagg_operator.build.mounts import volume_mount
from disagg_operator.build.security import USER, container_security, pod_security
from disagg_operator.plan import names
from disagg_operator.plan.model import RESTRICTED, DownloadPlan, Plan

FETCH = "fetch-model"
"""Name of the container that fetches."""
_TRIES = 1_000_000
"""More than there will ever be: what is refused today may be allowed tomorrow, by a token or by space."""


def download_job(plan: Plan, download: DownloadPlan) -> Object:
    """Return the Job of a download."""
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "OnFailure",
        # A volume with terabytes of models is not gone through each time.
        "securityContext": {**pod_security(RESTRICTED), "fsGroupChangePolicy": "OnRootMismatch"},
        "containers": [download_container(download)],
        "volumes": [{"name": mount.name, **mount.volume} for mount in download.mounts],
    }
    if download.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in download.pull_secrets]
    if download.node_selector:
        spec["nodeSelector"] = dict(download.node_selector)
    if download.tolerations:
        spec["tolerations"] = [dict(each) for each in download.tolerations]
    labels = names.labels(plan.name, names.DOWNLOAD)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(plan, download.name or "", names.DOWNLOAD),
        "spec": {"backoffLimit": _TRIES, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


def download_container(download: DownloadPlan) -> Object:
    """Return the container of a download, for a pod that has all its volumes."""
    # Named here too: the engine of the same pod may have another user.
    user = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER}
    container: Object = {
        "name": FETCH,
        "image": download.image,
        "command": list(download.command),
        "env": [variable(setting) for setting in download.environment],
        "resources": {key: dict(value) for key, value in download.resources.items()},
        "securityContext": {**container_security(RESTRICTED), **user},
        "volumeMounts": [volume_mount(mount) for mount in download.mounts],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if download.pull_policy is not None:
        container["imagePullPolicy"] = download.pull_policy
    return container
