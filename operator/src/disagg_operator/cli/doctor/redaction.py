"""Takes secrets out of what leaves a cluster: objects and texts. Pure.

Invariants: the contents of Secrets never stay; nor does the value of a variable, setting or flag whose name
looks secret, wherever in the same bundle that value is repeated; nor what looks like a well-known token, a
password in a URL or a private key. Names of Secrets and of their keys stay. What a pod calls by an innocent
name and writes in an innocent form cannot be known.
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

REMOVED = "REMOVED"
_SHORTEST = 5
"""Shorter values are not sought elsewhere: they are parts of too many other words."""
_WORDS = (
    *("token", "password", "passwd", "passphrase", "secret", "credential", "credentials", "authorization"),
    *("apikey", "cookie", "jwt", "pat", "pwd"),
)
_KEYS = ("api", "access", "private", "secret", "ssh", "request", "encryption", "signing", "license")
"""Before the word key."""
_REFERENCES = ("name", "ref", "refs", "namespace", "kind", "type", "class")
"""Last words of settings that name a secret and hold none."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NAME = r"[A-Za-z][\w.-]{1,80}"
_VALUE = r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s\"',;&}\])]+"
_ASSIGNED = re.compile(
    rf"(?P<head>(?P<name>{_NAME})[\"']?[ \t]*(?:=|:(?!//))[ \t]*(?:(?:Bearer|Basic)[ \t]+)?)"
    rf"(?P<value>{_VALUE})"
)
_FLAG = re.compile(rf"(?P<head>--(?P<name>{_NAME})[ \t]+)(?P<value>(?!-){_VALUE})")
_VARIABLE = re.compile(
    rf"(?P<head>[\"']?name[\"']?[ \t]*:[ \t]*[\"']?(?P<name>{_NAME})[\"']?[\s,]+"
    rf"[\"']?value[\"']?[ \t]*:[ \t]*)"
    rf"(?P<value>{_VALUE})"
)
_SHAPES = re.compile(
    "|".join(
        (
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            r"\bhf_[A-Za-z0-9]{16,}",
            r"\bnvapi-[\w-]{16,}",
            r"\bsk-[\w-]{16,}",
            r"\bgh[pousr]_[A-Za-z0-9]{16,}",
            r"\bgithub_pat_\w{16,}",
            r"\bglpat-[\w-]{16,}",
            r"\bxox[abprs]-[\w-]{10,}",
            r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
            r"\bAIza[\w-]{30,}",
            r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
        )
    ),
    re.DOTALL,
)
_USER = re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]*://)[^/\s\"'@]+(?=@)", re.IGNORECASE)
_BEARER = re.compile(r"(?P<head>\b(?:Bearer|Basic)\s+)(?P<value>[\w.~+/=-]{8,})", re.IGNORECASE)
_LEFT_OUT = {"managedFields", "kubectl.kubernetes.io/last-applied-configuration"}


class Redactor:
    """Takes out secrets, and each that was seen in an object wherever else it stands."""

    def __init__(self, objects: Iterable[Any]) -> None:
        """Learn the secrets of objects.

        Args:
            objects: all objects of a bundle.
        """
        found = {value for obj in objects for value in _secrets(obj) if len(value) >= _SHORTEST}
        # The longest first: a secret may be part of another.
        self._known = sorted(found, key=lambda value: (-len(value), value))

    def object(self, obj: Any) -> Any:
        """Return an object of JSON without secrets."""
        return self._value(obj, secret=False)

    def text(self, text: str) -> str:
        """Return a text without secrets, such as a log."""
        for value in self._known:
            text = text.replace(value, REMOVED)
        for pattern in (_VARIABLE, _ASSIGNED, _FLAG):
            text = pattern.sub(_named, text)
        text = _SHAPES.sub(REMOVED, text)
        text = _USER.sub(rf"\g<head>{REMOVED}", text)
        return _BEARER.sub(rf"\g<head>{REMOVED}", text)

    def _value(self, value: Any, *, secret: bool) -> Any:
        if isinstance(value, dict):
            return self._mapping(value)
        if isinstance(value, list):
            return [
                self._value(each, secret=secret or _is_flag(before))
                for before, each in zip([None, *value][:-1], value, strict=True)
            ]
        if isinstance(value, bool) or value is None:
            return value
        if secret:
            return REMOVED
        return self._string(value) if isinstance(value, str) else value

    def _mapping(self, found: dict[str, Any]) -> dict[str, Any]:
        hidden = _hidden(found)
        return {
            self.text(key): _emptied(value) if key in hidden else self._value(value, secret=looks_secret(key))
            for key, value in found.items()
            if key not in _LEFT_OUT
        }

    def _string(self, value: str) -> str:
        """Return a string without secrets; one that is JSON is looked into."""
        nested = _nested(value)
        return self.text(value if nested is None else json.dumps(self.object(nested)))


def looks_secret(name: str) -> bool:
    """Tell whether a setting of this name holds a secret, and not only the name of one."""
    words = _words(name)
    return _speaks_of_secrets(words) and words[-1] not in _REFERENCES


def _speaks_of_secrets(words: list[str]) -> bool:
    pairs = itertools.pairwise(words)
    return any(word in _WORDS for word in words) or any(
        first in _KEYS and second == "key" for first, second in pairs
    )


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _hidden(found: dict[str, Any]) -> set[str]:
    """Return the keys of a mapping whose values are secrets by what stands beside them."""
    if found.get("kind") == "Secret" and ("data" in found or "stringData" in found):
        return {"data", "stringData"}
    name = found.get("name")
    if isinstance(name, str) and isinstance(found.get("value"), str) and _speaks_of_secrets(_words(name)):
        return {"value"}
    return set()


def _emptied(value: Any) -> Any:
    """Return what is left of something secret: its keys."""
    return dict.fromkeys(value, REMOVED) if isinstance(value, dict) else REMOVED


def _secrets(value: Any, *, secret: bool = False) -> Iterator[str]:
    """Yield all secrets of an object as far as a name tells them."""
    if isinstance(value, dict):
        hidden = _hidden(value)
        for key, each in value.items():
            yield from _secrets(each, secret=looks_secret(key)) if key not in hidden else _leaves(each)
    elif isinstance(value, list):
        for before, each in zip([None, *value][:-1], value, strict=True):
            yield from _secrets(each, secret=secret or _is_flag(before))
    elif isinstance(value, str):
        nested = None if secret else _nested(value)
        if secret:
            yield value
        elif nested is not None:
            yield from _secrets(nested)


def _leaves(value: Any) -> Iterator[str]:
    """Yield all strings below something secret."""
    below = value.values() if isinstance(value, dict) else [value]
    yield from (each for each in below if isinstance(each, str))


def _is_flag(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("-") and "=" not in value and looks_secret(value)


def _nested(value: str) -> Any:
    """Return what a string holds that is JSON, or None."""
    if not value.startswith(("{", "[")):
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _named(found: re.Match[str]) -> str:
    """Return an assignment without its value where its name looks secret."""
    return f"{found['head']}{REMOVED}" if looks_secret(found["name"]) else found[0]
