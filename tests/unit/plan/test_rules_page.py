"""The page of all rules says of each what is wrong, in the words of the rule."""

import re

import pytest

from disagg_operator.api.admission.rule import Rule
from disagg_operator.plan.rules import every_rule
from disagg_operator.plan.rules.table import document, said


@pytest.mark.parametrize("rule", every_rule(), ids=lambda rule: rule.id)
def test_each_rule_says_what_is_wrong(rule: Rule[object]) -> None:
    assert re.search("[a-z]{3}", said(rule)), "give the rule `says`: its message has values alone"


def test_the_words_are_those_of_the_message() -> None:
    page = document()
    assert "a pod asks for … GPUs, and … has …" in page
    assert "holds '..'" in page
