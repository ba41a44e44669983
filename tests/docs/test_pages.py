"""What pages say is so: deployments are accepted, rules exist, symptoms have a cause and a remedy."""

import re
from typing import Any

import pytest
import yaml

from disagg_operator.api.parse import accept
from disagg_operator.plan.programs.check_worker import CHECKS
from disagg_operator.plan.rules import every_rule
from disagg_operator.reconcile.reporting.guide import check_heading, heading, title
from disagg_operator.reconcile.reporting.reasons import REASONS, WELL
from docs.pages import PAGES, ROOT, Block, blocks

TROUBLES = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
PARTS = ("Cause", "See", "Fix", "Source")
MODEL = {"name": "model", "source": {"runtimeImage": {"path": "/models/model"}}}


def documents(block: Block) -> list[Any]:
    return [found for found in yaml.safe_load_all(block.text) if found]


YAML = [block for block in blocks() if block.language == "yaml"]
DEPLOYMENTS = [
    (block.page, found)
    for block in YAML
    for found in documents(block)
    if isinstance(found, dict) and (found.get("kind") == "DisaggDeployment" or set(found) == {"spec"})
]


@pytest.mark.parametrize(
    ("page", "found"), DEPLOYMENTS, ids=lambda part: part if isinstance(part, str) else ""
)
def test_deployments_in_pages_are_accepted(page: str, found: dict[str, Any]) -> None:
    spec = {"model": MODEL, **found["spec"]}
    metadata = found.get("metadata", {"name": "shown"})
    accepted = accept(
        {"apiVersion": "disagg.dev/v1alpha1", "kind": "DisaggDeployment", "metadata": metadata, "spec": spec}
    )
    assert accepted.metadata.name == metadata["name"], page


def test_deployments_were_found() -> None:
    assert len(DEPLOYMENTS) > 10


def test_rules_that_pages_name_exist() -> None:
    known = {rule.id for rule in every_rule()}
    named = re.compile(r"[Rr]ules? ((?:`[a-z0-9-]+`(?:, | and | or )?)+)")
    found = {
        rule
        for page in PAGES
        for listed in named.findall(page.read_text(encoding="utf-8"))
        for rule in re.findall(r"`([a-z0-9-]+)`", listed)
    }
    assert found <= known
    assert len(found) > 10


HEADINGS = re.findall(r"^### (.+)$", TROUBLES, re.MULTILINE)
TITLES = {
    title(kind, reason): heading(kind, reason)
    for kind, reasons in REASONS.items()
    for reason in reasons - WELL
}


def test_each_reason_of_a_condition_has_a_heading_and_no_other_has() -> None:
    of_conditions = [found for found in HEADINGS if found.partition(": ")[0] in REASONS]
    alone = [found for found in HEADINGS if found in set().union(*REASONS.values())]
    assert sorted([*of_conditions, *alone]) == sorted(TITLES)


def test_each_check_before_an_engine_starts_has_a_heading_and_no_other_has() -> None:
    assert sorted(re.findall(r"^### Preflight: (\w+)$", TROUBLES, re.MULTILINE)) == sorted(CHECKS)


def test_messages_name_the_anchors_of_these_headings() -> None:
    anchors = {found.lower().replace(": ", "-") for found in HEADINGS}
    named = [*TITLES.values(), *map(check_heading, CHECKS)]
    assert {each.removeprefix("docs/troubleshooting.md#") for each in named} <= anchors
    assert TITLES["PlatformReady: VolumeMissing"] == "docs/troubleshooting.md#platformready-volumemissing"
    assert TITLES["Blocked"] == "docs/troubleshooting.md#blocked", "several conditions have it"
    assert not heading("TransportVerified", "AsPromised")
    assert not heading("Available", "OfAnotherVersion")


@pytest.mark.parametrize(
    "entry", re.split(r"^### ", TROUBLES, flags=re.MULTILINE)[1:], ids=lambda text: text.partition("\n")[0]
)
def test_each_symptom_has_cause_and_remedy(entry: str) -> None:
    assert tuple(re.findall(r"^- \*\*(\w+)\*\*: \S", entry, re.MULTILINE)) == PARTS
