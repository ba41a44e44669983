"""A field is never removed or narrowed within a version of the resource: what releases stored stays valid."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from disagg_operator.api.v1alpha1.patterns import LABEL_VALUE, OBJECT_NAME, QUALIFIED_NAME, QUANTITY
from testcluster.paths import REPOSITORY
from upgrade.narrowing import narrowings
from upgrade.release import Release, releases

Object = dict[str, Any]
RELEASES = pytest.mark.parametrize("release", releases(), ids=lambda release: release.folder.name)
SPELLINGS = tuple(
    f"a further rule: self.matches(r'{each}')" for each in (OBJECT_NAME, QUALIFIED_NAME, LABEL_VALUE)
)
"""Rules that ask of a name what Kubernetes asks: no pod ever came of one that breaks them."""

QUANTITIES = re.compile(
    r".*\.(limits\.\*|requests\.\*|size): (minimum was None, is 0|pattern was None, is "
    + re.escape(QUANTITY)
    + ")"
)
"""What a rule asked of quantities before."""


def definitions() -> dict[str, Object]:
    """Return the CustomResourceDefinitions of this version by name."""
    found = [yaml.safe_load(path.read_text()) for path in sorted((REPOSITORY / "crds").glob("*.yaml"))]
    return {each["metadata"]["name"]: each for each in found}


def test_there_is_a_release_to_compare_with() -> None:
    assert releases()


@RELEASES
def test_definitions_let_through_what_those_of_the_release_let_through(release: Release) -> None:
    now = definitions()
    for old in release.definitions:
        new = now[old["metadata"]["name"]]
        for part in ("group", "scope", "names"):
            assert new["spec"][part] == old["spec"][part]
        served = {each["name"]: each for each in new["spec"]["versions"] if each["served"]}
        for version in old["spec"]["versions"]:
            schemas = [each["schema"]["openAPIV3Schema"] for each in (version, served[version["name"]])]
            found = [each for each in narrowings(*schemas) if not each.endswith(SPELLINGS)]
            assert [each for each in found if not QUANTITIES.fullmatch(each)] == []


BASE: Object = {
    "type": "object",
    "properties": {
        "mode": {"type": "string", "enum": ["On", "Off"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 9, "default": 1},
        "name": {"type": "string", "pattern": "^a", "maxLength": 9},
        "rest": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "list": {"type": "array", "items": {"type": "string", "nullable": True}},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "x-kubernetes-validations": [{"rule": "self.count > 0"}],
}
Change = Callable[[Object], object]
"""Changes the fields of a schema in place."""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda fields: fields.pop("name"), ".name: is gone"),
        (lambda fields: fields["mode"].update(enum=["On"]), ".mode: Off is no value any more"),
        (lambda fields: fields["name"].update(enum=["a"]), ".name: anything is no value any more"),
        (lambda fields: fields["count"].update(maximum=8), ".count: maximum was 9, is 8"),
        (lambda fields: fields["count"].update(minimum=1), ".count: minimum was 0, is 1"),
        (lambda fields: fields["count"].update(default=2), ".count: default was 1, is 2"),
        (lambda fields: fields["list"].update(maxItems=3), ".list: maxItems was None, is 3"),
        (lambda fields: fields["name"].update(pattern="^b"), ".name: pattern was ^a, is ^b"),
        (lambda fields: fields["list"]["items"].pop("nullable"), ".list[]: nullable is gone"),
        (
            lambda fields: fields["map"]["additionalProperties"].update(type="integer"),
            ".map.*: type was string",
        ),
        (
            lambda fields: fields["rest"].pop("x-kubernetes-preserve-unknown-fields"),
            ".rest: x-kubernetes-preserve-unknown-fields is gone",
        ),
        (lambda fields: fields["rest"].update(required=["x"]), ".rest: x is required now"),
    ],
)
def test_what_is_narrower_is_found(change: Change, said: str) -> None:
    narrower = copy.deepcopy(BASE)
    change(narrower["properties"])
    (found,) = narrowings(BASE, narrower)
    assert found.startswith(said)


def test_another_rule_is_narrower() -> None:
    other = {**BASE, "x-kubernetes-validations": [{"rule": "self.count > 1"}]}
    assert list(narrowings(BASE, other)) == ["the whole: there is a further rule: self.count > 1"]


def test_what_is_wider_is_nothing_to_say() -> None:
    wider = copy.deepcopy(BASE)
    fields = wider["properties"]
    fields["mode"]["enum"].append("Auto")
    fields["count"].update(minimum=-1, maximum=10)
    del fields["name"]["pattern"], wider["x-kubernetes-validations"]
    fields["added"] = {"type": "string"}
    assert list(narrowings(BASE, wider)) == []
