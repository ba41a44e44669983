"""In which forms a secret may stand elsewhere, given as it is or as a text writes it. Pure."""

import json
import re
import shlex
import textwrap
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import yaml

from disagg_operator.cli.doctor.value_spans import STAMP

_PLAIN = re.compile(r"[A-Za-z]?[a-z]{1,11}|[A-Z]{1,11}|[\d.,:]+")
_PATH = re.compile(r"(?:/[a-z0-9][a-z0-9._-]*){2,}")
_ESCAPED = re.compile(r"\\([\\\"'])")
_SIGN = re.compile(r"[\s,;&\"'`)}\]\\]")
_LONG = 8
_MOST = 20
_LONGEST = 4096
"""Characters of a value beyond which other ways to write it are not looked for."""


def spellings(value: str) -> Iterator[str]:
    """Yield how a value may be written: in JSON, Python, YAML, URLs and base64."""
    yield from (value, repr(value)[1:-1], value.replace("'", "''"))
    yield from (quote(value, safe="", errors="replace"), quote_plus(value, errors="replace"))
    for is_ascii in (True, False):
        once = json.dumps(value, ensure_ascii=is_ascii)[1:-1]
        yield from (once, json.dumps(once)[1:-1])
    yield b64encode(value.encode(errors="surrogatepass")).decode()


def readings(value: str) -> Iterator[str]:
    """Yield what a value may read elsewhere, given as it is written in a text.

    Words, plain numbers and paths of files are left out: they mean other things elsewhere.
    """
    stripped = value.strip()
    # What follows a value at once, as in a shell, may have been taken for a part of it.
    found = [stripped, stripped.rstrip(",;&.)]}>\"'`"), _first(stripped)]
    if len(stripped) <= _LONGEST:
        found += _unescaped(stripped)
    if stripped[:1] in ("[", "{", "-") or "\n" in stripped:
        found += _parts(value)
    yield from (each for each in found if not (_PLAIN.fullmatch(each) or is_path(each)))


def is_path(value: str) -> bool:
    """Tell whether a value is the path of a file, which may hold a secret and is none."""
    return _PATH.fullmatch(value) is not None


def unmistakable(values: Iterable[str]) -> set[str]:
    """Return those of some values, as they are written in a text, that can mean nothing else there.

    They are but a few, for each is sought in all of the text.
    """
    found: set[str] = set()
    for value in values:
        first = _first(value.lstrip(" \t\n-[{(\"'"))
        if _is_mixed(first):
            found.add(first)
        if len(found) == _MOST:
            break
    return found


def _unescaped(value: str) -> Iterator[str]:
    """Yield what a value means in a URL, and, were it in quotes, to a shell, in YAML, Python and JSON."""
    yield from (unquote(value), unquote_plus(value), _ESCAPED.sub(r"\1", value), value.replace("''", "'"))
    for quoted in (f"'{value}'", f'"{value}"'):
        with suppress(ValueError):
            yield "".join(shlex.split(quoted)[:1])
        yield from _leaves(_yaml(quoted))
    with suppress(ValueError):
        once = json.loads(f'"{value}"')
        yield once
        yield json.loads(f'"{once}"')


def _parts(value: str) -> Iterator[str]:
    """Yield what may be secrets of their own within a list, a mapping or lines."""
    lines = [re.sub(STAMP, "", line, count=1) for line in value.splitlines()]
    if len(value) <= _LONGEST:
        yield from _leaves(_yaml(textwrap.dedent("\n".join(lines))))
    for line in lines:
        yield line.strip()
    for part in re.findall(r"[^\s,\[\]{}()\"']+", value):
        if _is_mixed(part):
            yield part


def _yaml(text: str) -> Any:
    """Return what a text is in YAML, or None: one that refers to itself may be without bounds."""
    if "*" in text and "&" in text:
        return None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for below in value.values() if isinstance(value, dict) else value:
            yield from _leaves(below)
    elif isinstance(value, str):
        yield value


def _first(value: str) -> str:
    """Return what stands before the first space or sign that may be no part of a value."""
    return value[: found.start()] if (found := _SIGN.search(value)) else value


def _is_mixed(value: str) -> bool:
    """Tell whether a value is long and of letters and digits, so that it is neither a word nor a number."""
    return len(value) >= _LONG and any(map(str.isdigit, value)) and any(map(str.isalpha, value))
