"""Where a worker finds the model's files, by the source that the user names."""

from disagg_operator.api.v1alpha1.model import ModelSource
from disagg_operator.plan.model import EnvSetting, Mount, Provenance

VOLUME_PATH = "/models/volume"
_TOKEN = "HF_TOKEN"  # noqa: S105 - the name of a variable


def model_path(source: ModelSource) -> str:
    """Return the directory of the model in the container, or the name of a repository on the hub."""
    if source.runtime_image is not None:
        return source.runtime_image.path
    if source.persistent_volume_claim is not None:
        return f"{VOLUME_PATH}/{source.persistent_volume_claim.path}".rstrip("/")
    if source.image is not None:
        return f"{VOLUME_PATH}/{source.image.path}".rstrip("/")
    assert source.hugging_face is not None, "admission sees to exactly one source"  # noqa: S101
    return source.hugging_face.repository


def model_mounts(source: ModelSource) -> tuple[Mount, ...]:
    """Return the volumes that hold the model's files."""
    if source.persistent_volume_claim is not None:
        claim = {"claimName": source.persistent_volume_claim.claim_name, "readOnly": True}
        return (Mount("model", VOLUME_PATH, {"persistentVolumeClaim": claim}, read_only=True),)
    if source.image is not None:
        image = {"reference": source.image.reference}
        return (Mount("model", VOLUME_PATH, {"image": image}, read_only=True),)
    return ()


def hub_environment(source: ModelSource) -> tuple[EnvSetting, ...]:
    """Return what a worker needs to download the model from a hub."""
    if source.hugging_face is None or source.hugging_face.token_secret_ref is None:
        return ()
    secret = source.hugging_face.token_secret_ref
    reason = Provenance("Token of the gated repository.", "spec.model.source.huggingFace.tokenSecretRef")
    reference = {"secretKeyRef": {"name": secret.name, "key": secret.key}}
    return (EnvSetting(_TOKEN, None, reference, reason),)
