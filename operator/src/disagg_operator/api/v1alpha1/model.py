"""Which model is served, and where its files come from."""

from typing import Annotated

from pydantic import Field

from disagg_operator.api.v1alpha1.base import ApiModel, SecretKeyReference


class HuggingFaceSource(ApiModel):
    """A repository on a Hugging Face compatible hub, downloaded by the engine when it starts."""

    repository: Annotated[str, Field(min_length=1, max_length=253)]
    """Repository, such as ``meta-llama/Llama-3.3-70B-Instruct``."""
    revision: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Branch, tag or commit. Default: the repository's default branch. Pin a commit in production."""
    token_secret_ref: SecretKeyReference | None = None
    """Secret with the access token of a gated repository. It reaches the engine as HF_TOKEN."""


class PersistentVolumeClaimSource(ApiModel):
    """A directory on an existing volume, mounted read-only into every worker."""

    claim_name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the PersistentVolumeClaim in the namespace of the deployment."""
    path: Annotated[str, Field(max_length=1024)] = ""
    """Directory of the model on the volume, relative to its root. Default: the root."""


class ImageSource(ApiModel):
    """An OCI image or artifact whose files are the model, mounted as a Kubernetes image volume."""

    reference: Annotated[str, Field(min_length=1, max_length=1024)]
    """Image reference with tag or digest."""
    path: Annotated[str, Field(max_length=1024)] = ""
    """Directory of the model in the image, relative to its root. Default: the root."""


class RuntimeImageSource(ApiModel):
    """A directory that the engine's own container image already holds."""

    path: Annotated[str, Field(pattern=r"^/", max_length=1024)]
    """Absolute path in the engine's image."""


class ModelSource(ApiModel):
    """Where the model's files are. Exactly one of the fields is set."""

    hugging_face: HuggingFaceSource | None = None
    """Download from a Hugging Face compatible hub."""
    persistent_volume_claim: PersistentVolumeClaimSource | None = None
    """Read from a PersistentVolumeClaim."""
    image: ImageSource | None = None
    """Read from an OCI image volume."""
    runtime_image: RuntimeImageSource | None = None
    """Read from a directory of the engine's own image."""


class ModelSpec(ApiModel):
    """The model that the deployment serves."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name that clients put into the ``model`` field of a request."""
    source: ModelSource
    """Where the model's files come from."""
