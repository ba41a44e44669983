"""Which model is served, and where its files come from."""

from typing import Annotated

from pydantic import ConfigDict, Field

from disagg_operator.api.v1alpha1.base import ApiModel, ObjectName, SecretKeyReference
from disagg_operator.api.v1alpha1.markers import cel, rules
from disagg_operator.api.v1alpha1.patterns import ABSOLUTE_PATH, HTTP_URL, HUB_REPOSITORY, NO_SPACE

_RELATIVE = rules(
    cel(
        "!self.startsWith('/') && !self.split('/').exists(part, part == '..')",
        "must stay inside the volume: write a path relative to its root, without '..'",
    )
)

RelativePath = Annotated[str, Field(max_length=1024, json_schema_extra=_RELATIVE)]


class ClaimCache(ApiModel):
    """An existing volume that keeps downloaded models. A Job fetches the files, workers only read them."""

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim in the namespace of the deployment. All nodes with workers must be
    able to mount it at the same time."""
    path: RelativePath = ""
    """Directory on the volume that keeps models, relative to its root. Default: the root."""


class NodeCache(ApiModel):
    """A directory of each node that keeps downloaded models. The first worker of a node fetches the files."""

    path: Annotated[str, Field(pattern=ABSOLUTE_PATH, max_length=1024)]
    """Absolute path on the nodes. It must be there and belong to user and group 65532. The namespace must
    allow hostPath volumes."""


class ModelCache(ApiModel):
    """Where downloaded files are kept. Exactly one of the fields is set."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "has(self.persistentVolumeClaim) != has(self.node)",
                "must name exactly one cache: set persistentVolumeClaim or node, and leave the other out",
            )
        )
    )

    persistent_volume_claim: ClaimCache | None = None
    """Fetch once for the whole cluster, onto a volume that all workers mount."""
    node: NodeCache | None = None
    """Fetch once for each node, into a directory of the node."""


class HuggingFaceSource(ApiModel):
    """A repository on a Hugging Face compatible hub, downloaded by each worker or once into a cache."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.files) || has(self.cache)",
                "has an effect with a cache only: set cache, or leave files out",
                ".files",
            )
        )
    )

    repository: Annotated[str, Field(pattern=HUB_REPOSITORY, max_length=253)]
    """Repository, such as ``meta-llama/Llama-3.3-70B-Instruct``."""
    revision: Annotated[str, Field(pattern=NO_SPACE, max_length=253)] | None = None
    """Branch, tag or commit. Default: the repository's default branch. Pin a commit in production."""
    token_secret_ref: SecretKeyReference | None = None
    """Secret with the access token of a gated repository. It reaches what downloads as HF_TOKEN. Default: no
    token."""
    endpoint: Annotated[str, Field(pattern=HTTP_URL, max_length=1024)] | None = None
    """URL of the hub or of a mirror. Default: https://huggingface.co."""
    cache: ModelCache | None = None
    """Where downloaded files are kept. Workers start once they are there. Default: nowhere; the engine
    downloads by itself in each pod."""
    files: (
        Annotated[
            list[Annotated[str, Field(pattern=NO_SPACE, max_length=253)]],
            Field(min_length=1, max_length=64),
        ]
        | None
    ) = None
    """Shell patterns of the files to download into the cache. Default: all, but of the weights only
    safetensors where there are such."""


class PersistentVolumeClaimSource(ApiModel):
    """A directory on an existing volume, mounted read-only into every worker."""

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim in the namespace of the deployment. All nodes with workers must be
    able to mount it."""
    path: RelativePath = ""
    """Directory of the model on the volume, relative to its root. Default: the root."""


class ImageSource(ApiModel):
    """An OCI image or artifact whose files are the model, mounted as a Kubernetes image volume."""

    reference: Annotated[str, Field(pattern=NO_SPACE, max_length=1024)]
    """Image reference with tag or digest."""
    path: RelativePath = ""
    """Directory of the model in the image, relative to its root. Default: the root."""


class RuntimeImageSource(ApiModel):
    """A directory that the engine's own container image already holds."""

    path: Annotated[str, Field(pattern=ABSOLUTE_PATH, max_length=1024)]
    """Absolute path in the engine's image."""


class ModelSource(ApiModel):
    """Where the model's files are. Exactly one of the fields is set."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "[has(self.huggingFace), has(self.persistentVolumeClaim), has(self.image), "
                "has(self.runtimeImage)].filter(given, given).size() == 1",
                "must name exactly one source: set one of huggingFace, persistentVolumeClaim, image and "
                "runtimeImage, and leave the others out",
            )
        )
    )

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

    name: Annotated[str, Field(pattern=NO_SPACE, max_length=253)]
    """Name that clients put into the ``model`` field of a request."""
    source: ModelSource
    """Where the model's files come from: exactly one of the fields below."""
