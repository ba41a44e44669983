"""Turns pydantic's errors into problems: the path as the user wrote it, the fault in plain words, the remedy.

A validator of our own may say both in one ValueError, as "fault; remedy".

Invariant: text that the user wrote is only repeated where a number, a name or a word from a list is expected,
so that a secret in the wrong place does not end up in a log.
"""

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from disagg_operator.api.problems import Problem
from disagg_operator.api.v1alpha1.patterns import WORDS
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.api.wording import readable

RULE = "shape"
_LONGEST_QUOTE = 60
_LONGEST_KEY = 80
"""Characters of a key that is no field's name."""

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "an object",
    "model_type": "an object",
    "list_type": "a list",
}
"""What a field expects, by the type of pydantic's error."""

Location = Sequence[int | str]
Words = tuple[str, str]
"""Fault and remedy."""


def problems_of(error: ValidationError, whole: str) -> list[Problem]:
    """Translate all errors of a validation.

    Args:
        error: what pydantic found in a DisaggDeployment.
        whole: name of the field for errors that concern the resource as a whole.
    """
    details = error.errors(include_url=False)
    return [Problem(path(each["loc"]) or whole, *words(each), RULE) for each in details]


def path(location: Location) -> str:
    """Return a path such as ``spec.env[0].name`` or ``spec.devices[vpc.amazonaws.com/efa]``."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        elif not step.isidentifier() or len(step) > _LONGEST_KEY:
            text += f"[{readable(step, _LONGEST_KEY)}]"
        else:
            text += f".{step}" if text else step
    return text


def words(detail: ErrorDetails, root: type[BaseModel] = DisaggDeployment) -> Words:
    """Return fault and remedy of one of pydantic's errors.

    Args:
        detail: the error.
        root: the model that was validated.
    """
    kind = detail["type"]
    if kind in _EXPECTED:
        return _wrong_type(_EXPECTED[kind], detail["input"])
    if kind == "missing":
        return _missing(detail, root)
    if kind == "extra_forbidden":
        return _unknown(detail, root)
    translate = _TRANSLATORS.get(kind)
    if translate is not None:
        return translate(detail)
    return f"is not valid: {detail['msg']}", "Correct it"


def _wrong_type(expected: str, given: object) -> Words:
    fault = f"must be {expected}, not {described(given, quote=expected == 'a whole number')}"
    meant = _other_type(expected, given)
    if meant is None:
        return fault, f"Write {expected}"
    return fault, f'Put it in quotes: "{meant}"' if expected == "text" else f"Leave the quotes out: {meant}"


def _other_type(expected: str, given: object) -> str | int | None:
    """Return the value that was meant where a number is in quotes, or a text is not; None elsewhere."""
    if expected == "text" and isinstance(given, bool | int | float):
        return str(given).lower() if isinstance(given, bool) else str(given)
    if expected == "a whole number" and isinstance(given, str) and given.strip().lstrip("-").isdigit():
        return int(given.strip())
    return None


def meant_value(detail: ErrorDetails) -> str | int | None:
    """Return the value that the remedy of an error names in place of the one that is there, if it does.

    Args:
        detail: pydantic's error.
    """
    kind = detail["type"]
    if kind in _EXPECTED:
        return _other_type(_EXPECTED[kind], detail["input"])
    return _close_word(detail) if kind in ("enum", "literal_error") else None


def meant_field(detail: ErrorDetails, root: type[BaseModel] = DisaggDeployment) -> str | None:
    """Return the field that the remedy of an unknown one names, if it does.

    Args:
        detail: pydantic's error.
        root: the model that was validated.
    """
    *parent, key = detail["loc"]
    known = _known_fields(model_at(parent, root))
    return next(iter(get_close_matches(str(key), known, n=1) or _same_word(str(key), known)), None)


def described(given: object, *, quote: bool = False) -> str:
    """Return what a value is, in a few words; a text itself only where it is asked for."""
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, int | float):
        return f"the number {given}" if abs(given) < 10**15 else "a huge number"
    if isinstance(given, str):
        return f"the text {_quoted(given)}" if quote else "text"
    if given is None:
        return "empty"
    return "a list" if isinstance(given, list) else "an object"


def _quoted(given: object) -> str:
    text = str(given)
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…")


def _missing(detail: ErrorDetails, root: type[BaseModel]) -> Words:
    model = model_at(detail["loc"][:-1], root)
    described = _description(model, str(detail["loc"][-1]))
    return "is missing", f"Add it: {described}" if described else "Add it"


def _unknown(detail: ErrorDetails, root: type[BaseModel]) -> Words:
    close = meant_field(detail, root)
    known = ", ".join(_known_fields(model_at(detail["loc"][:-1], root)))
    return "there is no such field", f"Did you mean {close}?" if close else f"Known fields: {known}"


def _known_fields(model: type[BaseModel] | None) -> list[str]:
    return [] if model is None else [name for name, _ in _fields(model) if name != "status"]


def _same_word(key: str, known: Sequence[str]) -> list[str]:
    folded = key.replace("_", "").replace("-", "").lower()
    return [name for name in known if name.lower() == folded]


def _choice(detail: ErrorDetails) -> Words:
    allowed, given = ", ".join(_allowed(detail)), detail["input"]
    if not isinstance(given, str):
        return f"must be text, not {described(given)}", f"Write one of: {allowed}"
    hint = _close_word(detail)
    remedy = f"Did you mean {hint}? Allowed: {allowed}" if hint else f"Write one of: {allowed}"
    return f"{_quoted(given)} is not allowed", remedy


def _allowed(detail: ErrorDetails) -> list[str]:
    expected: str = detail["ctx"]["expected"]
    return expected.replace("'", "").replace(" or ", ", ").split(", ")


def _close_word(detail: ErrorDetails) -> str | None:
    words, given = _allowed(detail), detail["input"]
    if not isinstance(given, str):
        return None
    close = get_close_matches(given.lower(), [word.lower() for word in words], n=1)
    return next((word for word in words if close and word.lower() == close[0]), None)


def _pattern(detail: ErrorDetails) -> Words:
    return f"{_quoted(detail['input'])} is not allowed here", f"Write {WORDS[detail['ctx']['pattern']]}"


def _low(detail: ErrorDetails) -> Words:
    bound = detail["ctx"]["ge"]
    return f"{_number(detail['input'])} is too small", f"Write at least {bound}"


def _high(detail: ErrorDetails) -> Words:
    bound = detail["ctx"]["le"]
    return f"{_number(detail['input'])} is too large", f"Write at most {bound}"


def _number(given: object) -> str:
    return described(given).removeprefix("the number ")


def _short(detail: ErrorDetails) -> Words:
    least = detail["ctx"]["min_length"]
    return (
        ("must not be empty", "Write a value") if least == 1 else ("is too short", f"At least {least} long")
    )


def _long(detail: ErrorDetails) -> Words:
    most = detail["ctx"]["max_length"]
    unit = "characters" if detail["type"] == "string_too_long" else "entries"
    return f"has {len(detail['input'])} {unit}", f"Write at most {most}"


def _own(detail: ErrorDetails) -> Words:
    return detail["ctx"]["fault"], detail["ctx"]["remedy"]


def _said(detail: ErrorDetails) -> Words:
    fault, _, remedy = detail["msg"].removeprefix("Value error, ").partition("; ")
    return fault, f"{remedy[:1].upper()}{remedy[1:]}" or "Correct it"


_TRANSLATORS: dict[str, Callable[[ErrorDetails], Words]] = {
    "value_error": _said,
    "enum": _choice,
    "literal_error": _choice,
    "string_pattern_mismatch": _pattern,
    "greater_than_equal": _low,
    "less_than_equal": _high,
    "string_too_short": _short,
    "string_too_long": _long,
    "too_short": _short,
    "too_long": _long,
    "quantity": _own,
    "number of instances": _own,
}


def model_at(location: Location, root: type[BaseModel] = DisaggDeployment) -> type[BaseModel] | None:
    """Return the model of the object at ``location`` of a ``root``, or None where there is none."""
    model: type[BaseModel] | None = root
    for step in location:
        if model is None or isinstance(step, int):
            continue
        annotation = next((field for name, field in _fields(model) if name == step), None)
        model = next(_models(annotation), None)
    return model


def _fields(model: type[BaseModel]) -> list[tuple[str, Any]]:
    return [(field.alias or name, field.annotation) for name, field in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _description(model: type[BaseModel] | None, alias: str) -> str:
    if model is None:
        return ""
    texts = (field.description or "" for name, field in model.model_fields.items() if field.alias == alias)
    text = next(texts, "").split(". ")[0].rstrip(".").replace("``", "")
    return text[:1].lower() + text[1:]
