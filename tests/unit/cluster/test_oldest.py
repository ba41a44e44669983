"""KUBERNETES=oldest means the oldest Kubernetes that the chart takes."""

import yaml

from testcluster.paths import REPOSITORY
from testcluster.toolchain import OLDEST_KUBERNETES, module_version


def test_the_oldest_kubernetes_is_the_charts() -> None:
    chart = yaml.safe_load((REPOSITORY / "charts/disagg-operator/Chart.yaml").read_text(encoding="utf-8"))
    built = module_version(OLDEST_KUBERNETES.go_mod, "k8s.io/kubernetes")
    assert chart["kubeVersion"].startswith(f">={built.removeprefix('v').rpartition('.')[0]}.")
