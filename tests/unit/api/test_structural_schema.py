"""The generator makes structural schemas, and refuses what has no structural form with its path."""

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, create_model

from disagg_operator.api.crd.lint import StructureError, lint
from disagg_operator.api.crd.schema import structural
from disagg_operator.api.crd.spoken import spoken
from disagg_operator.api.crd.words import documented
from disagg_operator.api.v1alpha1.base import ApiModel, EnvVar, OpaqueObject, Quantity
from disagg_operator.api.v1alpha1.markers import cel, list_map, rules
from disagg_operator.api.v1alpha1.patterns import QUANTITY, VARIABLE, WORDS

Text = Annotated[str, Field(max_length=10)]


class Colour(StrEnum):
    """Some colours."""

    RED = "red"
    BLUE = "blue"


class Number(IntEnum):
    """Some numbers."""

    ONE = 1


class Inner(ApiModel):
    """An inner object."""

    model_config = ConfigDict(json_schema_extra=rules(cel("self.size > 0", "size must be above 0")))

    size: Annotated[int, Field(ge=0, le=9)] = 4
    """Size in metres."""


class Outer(ApiModel):
    """An outer object."""

    two_words: Text
    """Some text."""
    colour: Colour = Colour.RED
    """A colour."""
    word: Literal["a", "b"] | None = None
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """A share."""
    inner: Annotated[Inner, Field(json_schema_extra=rules(cel("self.size < 9", "size must be below 9")))] = (
        Field(default_factory=Inner)
    )
    """The inner object."""
    maybe: Inner | None = None
    memory: Quantity | None = None
    template: OpaqueObject | None = None
    labels: Annotated[dict[str, Text], Field(max_length=3)] = Field(default_factory=dict)
    env: Annotated[list[EnvVar], Field(max_length=4, json_schema_extra=list_map("name"))] = Field(
        default_factory=list
    )
    when: datetime | None = None


SCHEMA = structural(Outer)
PROPERTIES = SCHEMA["properties"]


def test_fields_appear_under_their_aliases() -> None:
    assert SCHEMA["required"] == ["twoWords"]
    assert PROPERTIES["twoWords"] == {"type": "string", "maxLength": 10, "description": "Some text."}


def test_enums_are_text() -> None:
    assert PROPERTIES["colour"]["enum"] == ["red", "blue"]
    assert PROPERTIES["colour"]["default"] == "red"
    assert PROPERTIES["word"] == {"type": "string", "enum": ["a", "b"]}


def test_exclusive_bounds_have_kubernetes_form() -> None:
    share = PROPERTIES["share"]
    assert (share["minimum"], share["exclusiveMinimum"]) == (0, True)
    assert (share["maximum"], share["exclusiveMaximum"]) == (1, True)


def test_optional_means_absent_not_null() -> None:
    assert PROPERTIES["maybe"]["type"] == "object"
    assert "default" not in PROPERTIES["maybe"]
    assert "nullable" not in PROPERTIES["maybe"]


def test_defaults_inside_an_object_apply_when_it_is_left_out() -> None:
    assert PROPERTIES["inner"]["default"] == {}
    assert PROPERTIES["inner"]["properties"]["size"]["default"] == 4


def test_rules_of_model_and_field_both_hold() -> None:
    found = [each["rule"] for each in PROPERTIES["inner"]["x-kubernetes-validations"]]
    assert found == ["self.size > 0", "self.size < 9"]


def test_kubernetes_types() -> None:
    assert PROPERTIES["memory"]["x-kubernetes-int-or-string"] is True
    assert "type" not in PROPERTIES["memory"]
    assert PROPERTIES["template"] == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert PROPERTIES["labels"]["additionalProperties"] == {"type": "string", "maxLength": 10}
    assert PROPERTIES["env"]["x-kubernetes-list-map-keys"] == ["name"]
    assert PROPERTIES["when"] == {"type": "string", "format": "date-time"}


def test_descriptions_tell_bounds_and_defaults() -> None:
    described = documented(SCHEMA)["properties"]
    size = described["inner"]["properties"]["size"]
    assert size["description"] == "Size in metres. From 0 to 9. Default: 4."
    assert described["colour"]["description"] == "A colour. Default: red."
    assert described["labels"]["description"].endswith("Default: none.")
    assert described["inner"]["description"] == "The inner object."
    assert described["twoWords"]["description"] == "Some text."


def test_no_reference_and_no_title_is_left() -> None:
    def keys(node: Any) -> set[str]:
        if isinstance(node, dict):
            return set(node).union(*map(keys, node.values()))
        return set().union(*map(keys, node)) if isinstance(node, list) else set()

    assert keys(SCHEMA).isdisjoint({"$ref", "$defs", "title", "anyOf", "allOf", "const"})


class Recursive(BaseModel):
    """A model that contains itself."""

    field: Annotated[list["Recursive"], Field(max_length=3)]


UNSTRUCTURED: list[tuple[Any, str]] = [
    (tuple[Text, Text], "Model.field: not structural: prefixItems"),
    (Text | Inner, "Model.field: not structural: anyOf"),
    (Recursive, "Model.field.field[]: a model that contains itself (Recursive)"),
    (Any, "Model.field: has no type"),
    (dict[str, Any], "Model.field: takes any property"),
    (Number, "Model.field: an enum of anything but text"),
    (Literal[1, 2], "Model.field: an enum of anything but text"),
    (str, "Model.field: has no upper bound: give it maxLength"),
    (list[int], "Model.field: has no upper bound: give it maxItems"),
    (dict[str, int], "Model.field: has no upper bound: give it maxProperties"),
    (Annotated[list[Any], Field(max_length=3)], "Model.field[]: has no type"),
    (Annotated[list[str], Field(max_length=3)], "Model.field[]: has no upper bound"),
    (Annotated[set[int], Field(max_length=3)], "Model.field: not structural: uniqueItems"),
    (
        Annotated[list[Inner], Field(max_length=3, json_schema_extra=list_map("colour"))],
        "Model.field: list key colour must be required or have a default",
    ),
]


@pytest.mark.parametrize(("annotation", "message"), UNSTRUCTURED, ids=[row[1] for row in UNSTRUCTURED])
def test_what_has_no_structural_form_is_refused(annotation: Any, message: str) -> None:
    model = create_model("Model", field=(annotation, ...))
    with pytest.raises(StructureError) as refused:
        structural(model)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "node",
    [
        {"type": "object", "properties": {}, "additionalProperties": {"type": "integer"}, "maxProperties": 1},
        {"type": "array", "maxItems": 1},
        {"type": "object", "patternProperties": {}},
        {"type": ["string", "null"], "maxLength": 1},
    ],
)
def test_hand_written_schemas_are_checked_too(node: dict[str, Any]) -> None:
    with pytest.raises(StructureError, match="there"):
        lint(node, "there")


def test_marker_leaves_out_what_was_not_given() -> None:
    assert cel("r", "m") == {"rule": "r", "message": "m"}
    assert cel("r", "m", ".f", "FieldValueForbidden") == {
        "rule": "r",
        "message": "m",
        "fieldPath": ".f",
        "reason": "FieldValueForbidden",
    }


def test_patterns_become_rules_that_speak() -> None:
    schema = spoken(structural(create_model("Model", field=(EnvVar, ...), memory=(Quantity, ...))))
    name = schema["properties"]["field"]["properties"]["name"]
    memory = schema["properties"]["memory"]
    assert "pattern" not in name
    assert name["x-kubernetes-validations"] == [
        {
            "rule": rf"self.matches(r'{VARIABLE}')",
            "message": f"is not allowed here: write {WORDS[VARIABLE]}",
        }
    ]
    assert "x-kubernetes-validations" not in memory, "its rule would exceed the budget of Kubernetes 1.33"
    assert (memory["pattern"], memory["minimum"]) == (QUANTITY, 0)


def test_a_pattern_without_words_is_refused() -> None:
    with pytest.raises(StructureError, match="has no words"):
        spoken({"type": "string", "pattern": "^x$", "maxLength": 3})
