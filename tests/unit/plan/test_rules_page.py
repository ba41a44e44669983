"""The page of all rules says of each what is wrong, in the words of the rule."""

import re

import pytest

from disagg_operator.api.admission.rule import Rule
from disagg_operator.plan.rules import every_rule
from disagg_operator.plan.rules.table import document, learnt_from, said


@pytest.mark.parametrize("rule", every_rule(), ids=lambda rule: rule.id)
def test_each_rule_says_what_is_wrong(rule: Rule[object]) -> None:
    assert re.search("[a-z]{3}", said(rule)), "give the rule `says`: its message has values alone"


def test_the_words_are_those_of_the_message() -> None:
    page = document()
    assert "a pod asks for … GPUs, and … has …" in page
    assert "holds '..'" in page


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("https://github.com/o/r", "[o/r](https://github.com/o/r)"),
        ("https://github.com/o/r/pull/7", "[o/r #7](https://github.com/o/r/pull/7)"),
        ("https://github.com/o/r/blob/main/a.md", "[o/r a.md](https://github.com/o/r/blob/main/a.md)"),
        ("https://d.io/x/y.html#part: why", "[d.io part](https://d.io/x/y.html#part): why"),
        ("https://d.io/x/", "[d.io x](https://d.io/x/)"),
        ("docs/efa.md, Devices", "[efa.md](efa.md), Devices"),
        ("TensorRT-LLM: llm_args.py", "TensorRT-LLM: llm_args.py"),
    ],
)
def test_sources_are_short_links(source: str, shown: str) -> None:
    assert learnt_from(source) == shown
