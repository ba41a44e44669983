"""The alerts of the chart, by Prometheus' own promtool: each fires when it should, and not otherwise."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from chart.asked import groups
from chart.helm import CHART, MONITORING, Helm, Object, settings
from testcluster.console import Progress
from testcluster.paths import default_paths
from testcluster.prometheus import ensure_prometheus

ROOT = CHART.parents[1]
CASES = sorted((Path(__file__).parent / "alerts").glob("*.yaml"))
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
PARTS = ("**Meaning.**", "**Impact.**", "**Find out.**", "**Mend.**")
FIRING = re.compile(r'^ALERTS{alertname="(\w+)", alertstate="firing"}$')
LABEL = re.compile(r"\$labels\.(\w+)")


@pytest.fixture(scope="module")
def promtool() -> str:
    return ensure_prometheus(default_paths(), Progress()).path("promtool")


def alerts(groups: list[Object]) -> dict[str, Object]:
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@pytest.fixture(scope="module")
def rules(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the rules as Prometheus reads them, and all cases beside them."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups(helm)}))
    for file in CASES:
        shutil.copy(file, folder)
    return folder


def run(promtool: str, *arguments: str, folder: Path) -> None:
    done = subprocess.run([promtool, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules(promtool: str, rules: Path) -> None:
    run(promtool, "check", "rules", "rules.yaml", folder=rules)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_otherwise(promtool: str, rules: Path, case: Path) -> None:
    run(promtool, "test", "rules", case.name, folder=rules)


def expectations() -> list[tuple[str, list[str]]]:
    """Return of each expectation in the cases the alert, and the labels with which it fires."""
    found = []
    for file in CASES:
        for case in yaml.safe_load(file.read_text())["tests"]:
            for each in case["promql_expr_test"]:
                match = FIRING.match(each["expr"])
                assert match, f"{file.name}: {each['expr']}"
                found.append((match[1], [sample["labels"] for sample in each["exp_samples"]]))
    return found


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(helm: Helm) -> None:
    known = set(alerts(groups(helm)))
    assert {name for name, samples in expectations() if samples} == known
    assert {name for name, samples in expectations() if not samples} == known


def test_what_an_alert_says_names_only_labels_that_it_has(helm: Helm) -> None:
    known = alerts(groups(helm))
    for name, samples in expectations():
        told = set(LABEL.findall(str(known[name]["annotations"])))
        for labels in samples:
            assert told <= set(re.findall(r"(\w+)=", labels)), name


def test_each_alert_says_what_is_wrong_and_links_to_its_runbook(helm: Helm) -> None:
    base = "https://docs.example.com/runbooks.html"
    for name, alert in alerts(groups(helm, prometheusRule__runbookUrl=base)).items():
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["description"]
        assert alert["annotations"]["runbook_url"] == f"{base}#{name.lower()}"


def test_each_alert_has_a_runbook_and_no_runbook_lacks_its_alert(helm: Helm) -> None:
    sections = dict(re.findall(r"^### (\w+)$(.*?)(?=^##|\Z)", RUNBOOKS, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(alerts(groups(helm)))
    for name, text in sections.items():
        assert [part for part in PARTS if part not in text] == [], name


def test_rules_speak_of_the_release_that_they_belong_to(helm: Helm) -> None:
    chosen = ("--values", CHART / "ci" / "production-values.yaml", "--api-versions", MONITORING)
    given = settings(fullnameOverride="second")
    text = helm("template", "other", CHART, "--namespace", "elsewhere", *chosen, *given)
    (rule,) = [each for each in yaml.safe_load_all(text) if each and each["kind"] == "PrometheusRule"]
    known = alerts(rule["spec"]["groups"])
    assert '{namespace="elsewhere", pod=~"second-[^-]+-[^-]+"}' in known["DisaggOperatorDown"]["expr"]
    assert 'pod=~"second-webhook-[^-]+-[^-]+"' in known["DisaggWebhookDown"]["expr"]
    # Words that stand for names of the release are in capitals.
    assert not re.search(r"(OPERATOR|WEBHOOK)_[A-Z]+", str(rule))


def test_how_long_the_transport_must_have_been_worse_is_a_value(helm: Helm) -> None:
    known = alerts(groups(helm, prometheusRule__for="7m"))
    assert {name for name, alert in known.items() if alert.get("for") == "7m"} == {
        "DisaggKvCacheOverTcp",
        "DisaggTransportNotVerified",
    }
