"""Where a worker finds the model's files, by the source that the user names."""

from disagg_operator.api.v1alpha1.model import HuggingFaceSource, ModelSource
from disagg_operator.plan import names
from disagg_operator.plan.model import EnvSetting, Mount, Provenance

VOLUME = "model"
VOLUME_PATH = "/models/volume"
_HUB_FIELD = "spec.model.source.huggingFace"
_TOKEN, _ENDPOINT = "HF_TOKEN", "HF_ENDPOINT"


def model_path(source: ModelSource) -> str:
    """Return the directory of the model in the container, or the name of a repository on the hub."""
    if source.runtime_image is not None:
        return source.runtime_image.path
    if source.persistent_volume_claim is not None:
        return f"{VOLUME_PATH}/{source.persistent_volume_claim.path}".rstrip("/")
    if source.image is not None:
        return f"{VOLUME_PATH}/{source.image.path}".rstrip("/")
    assert source.hugging_face is not None, "admission sees to exactly one source"  # noqa: S101
    return _cached_path(source.hugging_face) or source.hugging_face.repository


def model_mounts(source: ModelSource, *, read_only: bool = True) -> tuple[Mount, ...]:
    """Return the volumes that hold the model's files.

    Args:
        source: where they are.
        read_only: False for what fetches them into a cache.
    """
    volume = _volume(source, read_only=read_only)
    return () if volume is None else (Mount(VOLUME, VOLUME_PATH, volume, read_only=read_only),)


def hub_environment(source: ModelSource) -> tuple[EnvSetting, ...]:
    """Return what a container needs that downloads the model from a hub by itself."""
    hub = source.hugging_face
    return () if hub is None or hub.cache is not None else download_environment(hub)


def download_environment(hub: HuggingFaceSource) -> tuple[EnvSetting, ...]:
    """Return what whoever downloads needs: the hub, and the token of a gated repository."""
    found = []
    if hub.token_secret_ref is not None:
        reason = Provenance("Token of the gated repository.", f"{_HUB_FIELD}.tokenSecretRef")
        reference = {"secretKeyRef": {"name": hub.token_secret_ref.name, "key": hub.token_secret_ref.key}}
        found.append(EnvSetting(_TOKEN, None, reference, reason))
    if hub.endpoint is not None:
        reason = Provenance("The hub to download from.", f"{_HUB_FIELD}.endpoint")
        found.append(EnvSetting(_ENDPOINT, hub.endpoint, None, reason))
    return tuple(found)


def _volume(source: ModelSource, *, read_only: bool) -> dict[str, object] | None:
    cache = source.hugging_face.cache if source.hugging_face is not None else None
    claim = source.persistent_volume_claim or (cache.persistent_volume_claim if cache is not None else None)
    if claim is not None:
        named: dict[str, object] = {"claimName": claim.claim_name}
        return {"persistentVolumeClaim": {**named, "readOnly": True} if read_only else named}
    if cache is not None and cache.node is not None:
        # It has to be there: one that the kubelet makes belongs to root, and nothing of ours runs as root.
        return {"hostPath": {"path": cache.node.path, "type": "Directory"}}
    return None if source.image is None else {"image": {"reference": source.image.reference}}


def _cached_path(hub: HuggingFaceSource) -> str | None:
    """Return the directory of a model in its cache, or None without one.

    All that decides its files is part of its name, so that files under a name never change.
    """
    if hub.cache is None:
        return None
    claim = hub.cache.persistent_volume_claim
    decides = [hub.repository, hub.revision or "", hub.endpoint or "", *(hub.files or ())]
    folder = f"{hub.repository.replace('/', '--')}/{names.digest(' '.join(decides))}"
    root = f"{VOLUME_PATH}/{claim.path}".rstrip("/") if claim is not None else VOLUME_PATH
    return f"{root}/{folder}"
