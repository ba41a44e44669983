"""From pydantic models to a structural OpenAPI v3 schema, the only sort that the API server takes.

Pydantic says more than Kubernetes can: what has no structural form (unions, tuples, recursion) is refused
with its path, so that a cluster never checks less than the models say without anybody noticing.
"""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from disagg_operator.api.crd.lint import StructureError, lint
from disagg_operator.api.crd.words import tidied

Schema = dict[str, Any]

_VALIDATIONS = "x-kubernetes-validations"


def structural(model: type[BaseModel]) -> Schema:
    """Return the structural schema of a model.

    Args:
        model: a pydantic model; fields appear under their aliases.

    Raises:
        StructureError: part of the model has no structural form. The message names its path.
    """
    raw = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    schema = _Inliner(raw.pop("$defs", {})).inlined(raw, model.__name__, ())
    lint(schema, model.__name__)
    return tidied(schema)


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, with the few shapes that Kubernetes writes differently."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        # A field that may be None is a field that may be absent; null itself is dropped by the API server.
        return self.generate_inner(schema["schema"])

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {"type": "string", "enum": list(schema["expected"])}

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        return {"type": "string", "enum": [member.value for member in schema["members"]]}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if isinstance(self.get_default_value(schema), BaseModel):
            # Defaults inside an object apply only where the object is there.
            return {**described, "default": {}}
        return described

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        factory = schema.get("default_factory")
        if isinstance(factory, type) and issubclass(factory, BaseModel):
            return factory()
        return super().get_default_value(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return False


class _Inliner:
    """Puts definitions in place of the references to them."""

    def __init__(self, definitions: dict[str, Schema]) -> None:
        self.definitions = definitions

    def inlined(self, node: Schema, path: str, above: tuple[str, ...]) -> Schema:
        """Return ``node`` without references.

        Args:
            node: part of pydantic's schema.
            path: where it is, for errors.
            above: definitions that it is part of.
        """
        if "$ref" in node:
            name = node["$ref"].rsplit("/", 1)[1]
            if name in above:
                raise StructureError(
                    f"{path}: a model that contains itself ({name}) has no structural schema"
                )
            node = _merged(self.definitions[name], node)
            above = (*above, name)
        result = _kubernetes_spelling(node)
        if "properties" in result:
            result["properties"] = {
                name: self.inlined(child, f"{path}.{name}", above)
                for name, child in result["properties"].items()
            }
        for key, suffix in (("additionalProperties", "[*]"), ("items", "[]")):
            if isinstance(result.get(key), dict):
                result[key] = self.inlined(result[key], f"{path}{suffix}", above)
        return result


def _merged(definition: Schema, reference: Schema) -> Schema:
    """Return a definition with what the referring field says about it; rules of both hold."""
    merged = {**definition, **{key: value for key, value in reference.items() if key != "$ref"}}
    rules = [*definition.get(_VALIDATIONS, ()), *reference.get(_VALIDATIONS, ())]
    return {**merged, _VALIDATIONS: rules} if rules else merged


def _kubernetes_spelling(node: Schema) -> Schema:
    result = {key: value for key, value in node.items() if key != "title"}
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in result:
            result[inclusive], result[exclusive] = result[exclusive], True
    # An object takes only its own properties: the API server drops others, and kubectl refuses them.
    if result.get("additionalProperties") is False:
        del result["additionalProperties"]
    if "default" in result and result["default"] is None:
        del result["default"]
    return result
