"""A cluster that somebody else made: used, never created or removed."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from testcluster.commands import output
from testcluster.errors import ClusterError
from testcluster.providers.base import Image, Part, ProviderName


class ExistingProvider:
    """The cluster of KUBECONFIG.

    Args:
        environment: Holds KUBECONFIG, the path of one file.
        kubectl: Gives the kubectl to ask it with; called when it is first needed.
    """

    name: ProviderName = "existing"

    def __init__(self, environment: Mapping[str, str], kubectl: Callable[[], str]) -> None:
        given = environment.get("KUBECONFIG", "")
        if not given or not Path(given).is_file():
            fault = f"{given} is no file" if given else "it is not set"
            raise ClusterError(
                f"CLUSTER=existing needs KUBECONFIG, and {fault}",
                remedy=f"set KUBECONFIG to one kubeconfig file (not a list joined by {os.pathsep!r})",
            )
        self.kubeconfig = Path(given)
        self.audit_log: Path | None = None
        self.kubectl = kubectl

    def up(self) -> None:
        """Check that the cluster answers."""
        if not self._answers():
            raise ClusterError(
                f"the cluster of {self.kubeconfig} does not answer",
                remedy=f"try: kubectl --kubeconfig {self.kubeconfig} get --raw /readyz",
            )

    def down(self) -> None:
        """Leave the cluster as it is: it is not ours."""

    def status(self) -> Sequence[Part]:
        """Whether its API server answers."""
        return [Part("kube-apiserver", self._answers(), str(self.kubeconfig))]

    def load(self, images: Sequence[Image]) -> None:
        """Nothing to load: the cluster pulls its images."""

    def _answers(self) -> bool:
        kubectl = self.kubectl()
        try:
            output([kubectl, f"--kubeconfig={self.kubeconfig}", "get", "--raw", "/readyz"], timeout=15)
        except ClusterError:
            return False
        return True
