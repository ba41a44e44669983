"""Takes secrets out of what leaves a cluster: objects and texts. Pure.

Invariants: the contents of Secrets never stay; nor does the value of a variable, setting or flag whose name
looks secret: where an object tells it, it stays nowhere else in the same bundle, however it is spelled there,
and where only a log does, nowhere else in that log; nor does what looks like a well-known token, a URL's
password or a private key. Names of Secrets and of their keys stay. What a pod calls by an innocent name and
writes in an innocent form cannot be known.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from disagg_operator.cli.doctor.secret_names import looks_secret, refers_only, speaks_of_secrets
from disagg_operator.cli.doctor.secret_texts import secret_spans, secrets_in
from disagg_operator.cli.doctor.spellings import is_path, spellings, unmistakable

REMOVED = "REMOVED"
_SHORTEST = 5
"""Shorter values are not sought elsewhere: they are parts of too many other words."""
_COMMON = {"default", "disabled", "enabled", "false", "optional", "removed", "required"}
"""Values that mean other things elsewhere."""
_LEFT_OUT = {"managedFields", "kubectl.kubernetes.io/last-applied-configuration"}
_DEEPEST = 50
"""Levels of JSON within a string that are looked into; deeper, it is a text."""
_LONG_LINE = 16


class Redactor:
    """Takes out secrets, and each that was seen in an object wherever else it stands."""

    def __init__(self, objects: Iterable[Any]) -> None:
        """Learn the secrets of objects.

        Args:
            objects: all objects of a bundle.
        """
        told = {value.strip() for obj in objects for value in _secrets(obj)}
        kept = {value for value in told if len(value) >= _SHORTEST and not _is_common(value)}
        found = {spelled for value in kept for spelled in spellings(value)}
        # The longest first: a secret may be part of another.
        self._known = sorted(found, key=lambda value: (-len(value), value))

    def object(self, obj: Any) -> Any:
        """Return an object of JSON without secrets."""
        return self._value(obj, secret=False)

    def text(self, text: str) -> str:
        """Return a text without secrets, such as a log."""
        for value in self._known:
            text = text.replace(value, REMOVED)
        spans = sorted(secret_spans(text))
        parts: list[str] = []
        at = 0
        for start, end in spans:
            if end > at:
                # What touches or overlaps the last one is part of it.
                parts += [text[at:start], REMOVED] if start > at or not at else []
                at = end
        left = "".join([*parts, text[at:]])
        for value in unmistakable(text[start:end] for start, end in spans):
            left = left.replace(value, REMOVED)
        return left

    def _value(self, value: Any, *, secret: bool) -> Any:
        if isinstance(value, dict):
            return self._mapping(value, secret=secret and not refers_only(value))
        if isinstance(value, list):
            return [self._value(each, secret=hidden) for each, hidden in _items(value, secret=secret)]
        if isinstance(value, bool) or value is None:
            return value
        if secret:
            return REMOVED
        return self._string(value) if isinstance(value, str) else value

    def _mapping(self, found: dict[str, Any], *, secret: bool) -> dict[str, Any]:
        hidden = _hidden(found)
        return {
            self.text(key): _emptied(value)
            if key in hidden
            else self._value(value, secret=secret or looks_secret(key))
            for key, value in found.items()
            if key not in _LEFT_OUT
        }

    def _string(self, value: str) -> str:
        """Return a string without secrets; one that is JSON is looked into."""
        nested = parsed(value)
        return self.text(value if nested is None else json.dumps(self.object(nested)))


def parsed(text: str | bytes) -> Any:
    """Return the mapping or list that a text is in JSON, or None where it is none, or one too deep."""
    if text.lstrip()[:1] not in ("{", "[", b"{", b"["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    level = [found]
    for _ in range(_DEEPEST):
        level = [below for each in level for below in _below(each)]
        if not level:
            return found
    return None


def _is_common(value: str) -> bool:
    return value.lower() in _COMMON or is_path(value)


def _below(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _hidden(found: dict[str, Any]) -> set[str]:
    """Return the keys of a mapping whose values are secrets by what stands beside them."""
    if found.get("kind") == "Secret" and ("data" in found or "stringData" in found):
        return {"data", "stringData"}
    keys = {key.lower(): key for key in found}
    names = [found[keys[key]] for key in ("name", "key") if key in keys]
    if "value" in keys and any(isinstance(name, str) and speaks_of_secrets(name) for name in names):
        return {keys["value"]}
    return set()


def _emptied(value: Any) -> Any:
    """Return what is left of something secret: its keys."""
    return dict.fromkeys(value, REMOVED) if isinstance(value, dict) else REMOVED


def _items(found: list[Any], *, secret: bool) -> Iterator[tuple[Any, bool]]:
    """Yield the items of a list, and whether each is a secret: the list is, or a flag stands before it."""
    before = None
    for each in found:
        is_flag = isinstance(each, str) and each.startswith("--")
        yield each, secret or (_asks_for_secret(before) and not is_flag)
        before = each


def _asks_for_secret(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("-") and "=" not in value and looks_secret(value)


def _secrets(value: Any, *, secret: bool = False) -> Iterator[str]:
    """Yield all secrets of an object, as far as a name tells them."""
    if isinstance(value, dict):
        hidden, within = _hidden(value), secret and not refers_only(value)
        for key, each in value.items():
            yield from _secrets(each, secret=within or key in hidden or looks_secret(key))
    elif isinstance(value, list):
        for each, hidden_by in _items(value, secret=secret):
            yield from _secrets(each, secret=hidden_by)
    elif isinstance(value, str):
        yield from _of_string(value, secret=secret)


def _of_string(value: str, *, secret: bool) -> Iterator[str]:
    nested = parsed(value)
    if nested is not None:
        yield from _secrets(nested, secret=secret)
    else:
        yield from secrets_in(value)
    if secret:
        yield value
        yield from (line.strip() for line in value.splitlines() if len(line.strip()) >= _LONG_LINE)
