"""Fixtures of the chart's tests."""

from pathlib import Path

import pytest

from chart.helm import CHART, IMAGES, Helm, Object, offline, offline3, settings

CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Helm without a cluster."""
    return offline()


@pytest.fixture(scope="session")
def helm3() -> Helm:
    """Helm 3 without a cluster."""
    return offline3()


@pytest.fixture(scope="session")
def default_render(helm: Helm) -> list[Object]:
    """Objects rendered with only what must be set."""
    return helm.render(*settings(**IMAGES))


@pytest.fixture(params=CI_VALUES, ids=lambda path: path.stem)
def ci_values(request: pytest.FixtureRequest) -> Path:
    """Each values file that the chart is tried with."""
    path: Path = request.param
    return path
