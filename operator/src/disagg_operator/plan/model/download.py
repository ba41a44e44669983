"""How a model's files come into a cache, once for all who read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from disagg_operator.plan.model.settings import EnvSetting, Mount, Provenance


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """What fetches the files, and ends once they are there.

    Attributes:
        name: name of its Job; None where it is an init container of each worker, and fetches once for a node.
        model: the repository and its revision, for people.
        cache: where the files are kept, for people.
        image: container image.
        pull_policy: image pull policy, or None for Kubernetes' default.
        pull_secrets: names of Secrets with registry credentials.
        command: argument vector.
        environment: variables in their final order.
        mounts: volumes with their mount paths, the cache among them.
        resources: CPU and memory, in the shape of Kubernetes' resource requirements.
        node_selector, tolerations: where the user lets pods run.
        provenance: why the files are fetched by it.
    """

    name: str | None
    model: str
    cache: str
    image: str
    pull_policy: str | None
    pull_secrets: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[EnvSetting, ...]
    mounts: tuple[Mount, ...]
    resources: Mapping[str, Any]
    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, Any], ...]
    provenance: Provenance
