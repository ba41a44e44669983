"""Where secrets stand in texts: logs, scripts, settings in YAML and JSON, escaped or not. Pure.

Invariants: an innocent assignment hides none that follows, not even within its own value. Where the end of a
value cannot be known, rather too much is taken for it. A text of any length costs time in proportion to it.
"""

import re
from collections.abc import Iterator
from itertools import islice

from disagg_operator.cli.doctor.secret_names import OPENING, looks_secret
from disagg_operator.cli.doctor.spellings import readings
from disagg_operator.cli.doctor.value_spans import NEAREST, QUOTES, STAMP, TIME, Span, value_span

_MOST = 1000
"""Secrets of one text that are sought elsewhere."""
_ASSIGNS = r"(?::=|=>?|:(?!//)|%3d|\\+u003d)"
_HEAD = re.compile(
    rf"(?<![\w.-])(?P<name>(?:(?:{'|'.join(OPENING)})[ ](?=keys?\b))?[\w.-]++)"
    rf"(?P<closing>{QUOTES})?\]?[ \t]*(?P<assigns>{_ASSIGNS})[ \t]*",
    re.IGNORECASE,
)
_FLAG = re.compile(
    rf"(?<![\w.-])--?(?P<name>[A-Za-z][\w.-]*+)"
    rf"(?:[ \t]+|{QUOTES},[ \t]*|(?:{QUOTES})?[ \t]*\n{STAMP}[ \t]*-[ \t]+)"
)
_IS_FLAG = re.compile(rf"(?:{QUOTES})?--[A-Za-z]")
_BEFORE_VALUE = re.compile(
    rf"\b(?:name|key)(?:{QUOTES})?[ \t]*[:=][ \t]*(?:{QUOTES})?(?P<name>[\w.-]+)(?:{QUOTES})?"
    rf"(?:[\s,;]|\\+n|(?<=\n){TIME})*(?:{QUOTES})?\Z",
    re.IGNORECASE,
)
_AFTER_VALUE = re.compile(
    rf"(?:{QUOTES})?(?:[\s,;]|\\+n|(?<=\n){TIME})*(?:{QUOTES})?(?:name|key)(?:{QUOTES})?[ \t]*[:=][ \t]*"
    rf"(?:{QUOTES})?(?P<name>[\w.-]+)",
    re.IGNORECASE,
)
_MANIFEST = re.compile(rf"\bkind(?:{QUOTES})?[ \t]*:[ \t]*(?:{QUOTES})?Secret(?:List)?\b")
_CREDENTIALS = re.compile(
    r"\b[a-z][a-z0-9+.-]{0,30}://(?P<user>[^\s/:@\"'\\]{0,256}:[^\s\"'\\]{0,512}|[^\s/\"'\\]{1,512})@(?!sha256:)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(?:Bearer|Basic)\s+(?P<value>[\w.~+/=-]{8,})", re.IGNORECASE)
_PEM = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)
_SHAPES = re.compile(
    "|".join(
        (
            r"LS0tLS1CRUdJTi[\w+/=-]{16,}",  # -----BEGIN in base64
            r"hf_[A-Za-z0-9]{16,}",
            r"npm_[A-Za-z0-9]{16,}",
            r"nvapi-[\w-]{16,}",
            r"sk-(?<![A-Za-z0-9]sk-)[\w-]{16,}",
            r"gh[pousr]_[A-Za-z0-9]{16,}",
            r"github_pat_\w{16,}",
            r"glpat-[\w-]{16,}",
            r"xox[abeprs]-[\w-]{10,}",
            r"A(?:KI|SI)A[A-Z0-9]{16}",
            r"AIza[\w-]{30,}",
            r"ya29\.[\w-]{16,}",
            r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
        )
    )
)


def secret_spans(text: str) -> Iterator[Span]:
    """Yield where secrets stand: by a name before them, or by their shape. Some may overlap."""
    yield from _named(text)
    yield from (found.span() for pattern in (_PEM, _SHAPES) for found in pattern.finditer(text))
    yield from (found.span("user") for found in _CREDENTIALS.finditer(text))
    yield from (found.span("value") for found in _BEARER.finditer(text))


def secrets_in(text: str) -> Iterator[str]:
    """Yield the secrets that names and URLs tell in a text, each in all that it may read elsewhere."""
    values = dict.fromkeys(text[start:end] for start, end in _named(text))
    for value in islice(values, _MOST):
        yield from readings(value)
    for found in _CREDENTIALS.finditer(text):
        _, colon, password = found["user"].partition(":")
        yield from readings(password) if colon else ()


def _named(text: str) -> Iterator[Span]:
    """Yield where values stand whose names look secret."""
    manifest = _MANIFEST.search(text) is not None
    covered = 0
    for head in _HEAD.finditer(text):
        # What lies wholly within a secret needs no look; one that only begins there may go on behind it.
        if head.end() <= covered:
            continue
        name = head["name"]
        if (
            looks_secret(name)
            or (manifest and name.lower() == "data")
            or (name.lower() == "value" and _neighbour_is_secret(text, head))
        ):
            found = _value_of(text, head)
            if found is not None:
                covered = max(covered, found[1])
                yield found
    covered = 0
    for head in _FLAG.finditer(text):
        if head.end() <= covered or not looks_secret(head["name"]) or _IS_FLAG.match(text, head.end()):
            continue
        found = value_span(text, head.start(), head.end(), assigns="\n" if "\n" in head[0] else "")
        if found is not None:
            covered = max(covered, found[1])
            yield found


def _value_of(text: str, head: re.Match[str]) -> Span | None:
    closing = head["closing"] is not None
    start, end = head.span()
    return value_span(text, start, end, assigns=head["assigns"], name=head["name"], is_quoted=closing)


def _neighbour_is_secret(text: str, head: re.Match[str]) -> bool:
    """Tell whether the name beside a value looks secret, as in ``name: HF_TOKEN, value: …``."""
    before = _BEFORE_VALUE.search(text[max(0, head.start() - NEAREST) : head.start()])
    if before is not None:
        return looks_secret(before["name"])
    found = _value_of(text, head)
    after = None if found is None else _AFTER_VALUE.match(text, found[1], found[1] + NEAREST)
    return after is not None and looks_secret(after["name"])
