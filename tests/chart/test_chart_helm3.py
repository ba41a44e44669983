"""Helm 3 makes of the chart what Helm 4 makes, with which all other tests run.

Their texts differ in empty lines between documents, and in the place of the webhook's configuration: before
objects of kinds that Helm does not know in Helm 4, after them in Helm 3.
"""

from pathlib import Path

import pytest

from chart.helm import CHART, IMAGES, MONITORING, Helm, HelmError, Object, settings

RANDOM = {"caBundle", "ca.crt", "tls.crt", "tls.key", "disagg.dev/renew-after"}
"""Fields of the self-made certificate, which is another one each time."""


LATER_IN_HELM_3 = "ValidatingWebhookConfiguration"


def without_certificate(value: object) -> object:
    """Return a value with the same text in all that is random."""
    if isinstance(value, dict):
        return {key: "random" if key in RANDOM else without_certificate(part) for key, part in value.items()}
    return [without_certificate(part) for part in value] if isinstance(value, list) else value


def test_the_two_are_of_different_major_versions(helm: Helm, helm3: Helm) -> None:
    assert helm("version", "--short").startswith("v4.")
    assert helm3("version", "--short").startswith("v3.")


def test_both_render_the_same_objects(helm: Helm, helm3: Helm, ci_values: Path) -> None:
    def rendered(by: Helm) -> list[Object]:
        objects = by.render("--values", ci_values, "--api-versions", MONITORING)
        last = [found for found in objects if found["kind"] == LATER_IN_HELM_3]
        return [*(found for found in objects if found not in last), *last]

    assert without_certificate(rendered(helm3)) == without_certificate(rendered(helm))


def test_helm_3_finds_nothing_to_complain_of(helm3: Helm, ci_values: Path) -> None:
    assert "0 chart(s) failed" in helm3("lint", "--strict", CHART, "--values", ci_values)


@pytest.mark.parametrize(
    "values", [{}, {**IMAGES, "replicaCount": "two"}, {**IMAGES, "image.repositry": "x"}], ids=str
)
def test_both_refuse_in_the_same_words(helm: Helm, helm3: Helm, values: dict[str, object]) -> None:
    def refused(by: Helm) -> list[str]:
        with pytest.raises(HelmError) as found:
            by.render(*settings(**values))
        return [line for line in str(found.value).splitlines() if line]

    assert refused(helm3) == refused(helm)
