"""Which cluster a command is for."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Which cluster and namespace a command is for.

    Attributes:
        namespace: name, or nothing for the context's.
        context: name of a context of the kubeconfig, or nothing for the current one.
        kubeconfig: file, or None for ``$KUBECONFIG``, ``~/.kube/config`` or the pod's own account.
    """

    namespace: str = ""
    context: str = ""
    kubeconfig: Path | None = None
