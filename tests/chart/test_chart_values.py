"""Values: what is documented, what is refused, and in which words."""

from pathlib import Path

import pytest
import yaml

from chart.helm import CHART, IMAGES, Helm, HelmError, settings
from chart.values_table import with_table


def test_lint_finds_nothing_with_any_values(helm: Helm, ci_values: Path) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART, "--values", ci_values)


def test_the_readme_lists_all_values() -> None:
    readme = (CHART / "README.md").read_text()
    assert readme == with_table(readme, (CHART / "values.yaml").read_text()), (
        "the table of values is out of date: run make crds"
    )


def test_the_schema_covers_all_values_and_closes_every_object_of_the_chart() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) == set(values)
    # Kubernetes' own objects are the API server's business; `global` is shared with a parent chart.
    elsewhere = {"global", "podSecurityContext", "securityContext"}
    for name, described in schema["properties"].items():
        if described.get("type") == "object" and name not in elsewhere:
            assert described["additionalProperties"] is False, name


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("image.repositry", "x", "'repositry' not allowed"),
        ("image.digest", "sha256:1", "/image/digest"),
        ("image.repository", "example.com/a:tag", "/image/repository"),
        ("logging.level", "loud", "must be one of 'debug', 'info', 'warning', 'error'"),
        ("watch.namespaces", ["Team-A"], "/watch/namespaces/0"),
        ("watch.namespaces", ["a", "a"], "/watch/namespaces"),
        ("watchNamespaces", ["a"], "'watchNamespaces' not allowed"),
        ("crds.install", False, "'install' not allowed"),
        ("dynamo.crd", False, "/dynamo/crd"),
        ("replicaCount", "two", "got string, want integer"),
        ("replicaCount", -1, "/replicaCount"),
        ("nodeSelector", {"gpu": True}, "/nodeSelector/gpu"),
        ("metrics.service.port", 0, "/metrics/service/port"),
        ("podMonitor.interval", 30, "/podMonitor/interval"),
        ("networkPolicy.apiServerCidrs", ["10.0.0.1"], "/networkPolicy/apiServerCidrs/0"),
        ("global.imagePullSecrets", ["regcred"], "/global/imagePullSecrets/0"),
        ("global.imageRegistry", "https://example.com", "/global/imageRegistry"),
        ("worker.image", "two words", "/worker/image"),
        ("strategy.type", "Rolling", "'RollingUpdate', 'Recreate'"),
        ("platforms.lab", {}, "'lab' not allowed"),
        ("platforms.machines", {"Lab": {}}, "'Lab' not allowed"),
        ("platforms.machines", {"lab": {"fabric": ["efa"]}}, "'fabric' not allowed"),
        ("platforms.machines", {"lab": {"devices": [{"per_pod": 1}]}}, "missing property 'name'"),
        (
            "platforms.machines",
            {"lab": {"devices": [{"name": "a/b", "per_gpu": "one"}]}},
            "/platforms/machines/lab/devices/0/per_gpu",
        ),
        (
            "platforms.fabrics",
            {"campus": {"environment": [{"name": "A", "value": 1}]}},
            "/platforms/fabrics/campus/environment/0/value",
        ),
    ],
)
def test_the_schema_names_the_value_that_is_wrong(helm: Helm, path: str, value: object, words: str) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render(*settings(**{**IMAGES, path: value}))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("values", "fault", "remedy"),
    [
        ({"image.repository": ""}, "image.repository is not set", "--set image.repository="),
        ({"worker.image": ""}, "worker.image is not set", "--set worker.image="),
        (
            {"serviceAccount.create": False},
            "serviceAccount.name is empty",
            "set serviceAccount.name",
        ),
        (
            {"serviceMonitor.enabled": True, "metrics.service.enabled": False},
            "metrics.service.enabled is false",
            "Set metrics.service.enabled=true",
        ),
        (
            {
                "networkPolicy.enabled": True,
                "networkPolicy.apiServerPorts": [],
            },
            "networkPolicy.apiServerPorts is empty",
            "List its ports",
        ),
        (
            {"extraEnv": [{"name": "DISAGG_LOG_LEVEL", "value": "debug"}]},
            "extraEnv sets DISAGG_LOG_LEVEL",
            "Remove it",
        ),
    ],
)
def test_impossible_combinations_are_refused_with_a_remedy(
    helm: Helm, values: dict[str, object], fault: str, remedy: str
) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render(*settings(**{**IMAGES, **values}))
    assert fault in str(refused.value)
    assert remedy in str(refused.value)
