"""The download of a model into a cache: one Job for a shared volume, or an init container for the node's own.

Invariants: it runs the operator's own image, whatever the engine, without privileges; it is no part of the
revision, so an operator that brings another image, or another token, restarts nobody.
"""

import json
from collections.abc import Iterator

from disagg_operator.api.v1alpha1.model import HuggingFaceSource
from disagg_operator.plan import names
from disagg_operator.plan.basis import Basis
from disagg_operator.plan.engines.models import download_environment, model_mounts, model_path
from disagg_operator.plan.environment import layered, written
from disagg_operator.plan.frontends.family import HOME, SCRATCH
from disagg_operator.plan.model import DownloadPlan, EnvSetting, Provenance

_FIELD = "spec.model.source.huggingFace.cache"
_WAY_OUT = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables, in either case, by which the user tells workers the way to the hub."""
_OF_THE_LIBRARY = "HF_"
_JOB_RESOURCES = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}
_INIT_RESOURCES = {"cpu": "1", "memory": "2Gi"}
"""As much requested as limited: a pod that is guaranteed what it asks for stays so."""
_BY_JOB = Provenance("One Job fetches the files for all workers, which only read them.", _FIELD)
_BY_NODE = Provenance("The first worker of a node fetches the files, the others wait for it.", _FIELD)
_HOME = EnvSetting("HOME", HOME, None, Provenance("Its root filesystem is read-only.", "images/worker"))


def job_download(basis: Basis) -> DownloadPlan | None:
    """Return what fetches the model onto a volume that all workers share, or None where nothing does."""
    hub = basis.spec.model.source.hugging_face
    if hub is None or hub.cache is None or hub.cache.persistent_volume_claim is None:
        return None
    claim = hub.cache.persistent_volume_claim
    environment = _environment(basis, hub)
    command = _command(basis, hub)
    variables = [[each.name, each.value, each.value_from] for each in environment]
    shape = json.dumps([command, variables, claim.claim_name], sort_keys=True)
    return _plan(basis, hub, names.download(basis.name, shape), f"PersistentVolumeClaim {claim.claim_name}")


def node_download(basis: Basis) -> DownloadPlan | None:
    """Return what fetches the model into a directory of each node, or None where nothing does."""
    hub = basis.spec.model.source.hugging_face
    if hub is None or hub.cache is None or hub.cache.node is None:
        return None
    return _plan(basis, hub, None, f"{hub.cache.node.path} of each node")


def _plan(basis: Basis, hub: HuggingFaceSource, job: str | None, cache: str) -> DownloadPlan:
    runtime, placement = basis.spec.runtime, basis.spec.placement
    guaranteed = {"requests": _INIT_RESOURCES, "limits": _INIT_RESOURCES}
    return DownloadPlan(
        name=job,
        model=f"{hub.repository} ({hub.revision})" if hub.revision else hub.repository,
        cache=cache,
        image=basis.installation.worker_image,
        pull_policy=runtime.image_pull_policy,
        pull_secrets=tuple(secret.name for secret in runtime.image_pull_secrets),
        command=_command(basis, hub),
        environment=_environment(basis, hub),
        mounts=(*SCRATCH, *model_mounts(basis.spec.model.source, read_only=False)),
        resources=guaranteed if job is None else _JOB_RESOURCES,
        node_selector=placement.node_selector,
        tolerations=tuple(placement.tolerations),
        provenance=_BY_NODE if job is None else _BY_JOB,
    )


def _command(basis: Basis, hub: HuggingFaceSource) -> tuple[str, ...]:
    revision = ("--revision", hub.revision) if hub.revision else ()
    patterns = [word for pattern in hub.files or () for word in ("--files", pattern)]
    words = (hub.repository, model_path(basis.spec.model.source), *revision, *patterns)
    return ("disagg-worker", "download", *words)


def _environment(basis: Basis, hub: HuggingFaceSource) -> tuple[EnvSetting, ...]:
    return layered((_HOME,), _way_out(basis), download_environment(hub))


def _way_out(basis: Basis) -> Iterator[EnvSetting]:
    for setting in written(basis.spec.env, "spec.env"):
        if setting.name.upper() in _WAY_OUT or setting.name.startswith(_OF_THE_LIBRARY):
            yield setting
