"""How far a value goes in a text, given where its name stands. Pure.

Invariant: where that cannot be known, rather too much is taken. Whatever is looked at beyond a value's end is
bounded, so that many values cost time in proportion to the text.
"""

import re

from disagg_operator.cli.doctor.secret_names import refers_only

Span = tuple[int, int]
TIME = r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)[ ]"
STAMP = rf"(?:{TIME})?"
"""Before a line of a log, as Kubernetes writes it."""
QUOTES = r"\\*+[\"']"
"""A quote, be it within JSON within JSON."""
_NEAR = 2000
"""Characters before a name that are looked at."""
NEAREST = 300
"""Characters around a value in which its neighbours are."""
_LINE = re.compile(rf"{STAMP}(?P<indent>[ \t]*)(?P<item>-(?=[ \t]))?[^\n]*")
_LEAD = re.compile(
    rf"{STAMP}[ \t]*(?:[-?][ \t]+)*(?:(?:export|ENV|ARG|set|declare -x)[ \t]+)?(?:{QUOTES})?", re.IGNORECASE
)
_OPENED = re.compile(r"(?:^|[\s({\[,:=>\"'])(?P<back>\\*+)(?P<quote>[\"'])")
_JUST_OPENED = re.compile(r"(?:^|[\s({\[,:=>])\\*+[\"']\Z")
_NEW_LINE = re.compile(r"(?<!\\)\\++n?[ \t]*(?:-[ \t]+)?\Z")
_QUOTED = re.compile(r"(?P<back>\\*+)(?P<quote>[\"'])")
_STOP = re.compile(r"(?P<space>\s)|(?<!\\)(?P<back>\\*+)(?P<quote>[\"'])")
_DELIMITER = re.compile(r"[\s,;:}\])>\"'\\]|\Z")
_BRACKET = re.compile(r"(?P<open>[\[{(])|(?P<close>[\]})])|(?<!\\)\\*+[\"']")
_BLOCK = re.compile(r"[|>][+-]?\d?[+-]?[ \t]*(?:#[^\n]*)?(?=\n|\Z)")
_GLUED = re.compile(r"[\w+/=@.%-]*")
_WHOLE_LINE = re.compile(r"(?:authorization|cookies?)\Z", re.IGNORECASE)
_SHELL_APOSTROPHE = "\"'\"'"
_APOSTROPHES = ("'", _SHELL_APOSTROPHE, "\\''")
"""What follows a closing apostrophe where the value goes on after one of its own: in YAML, and in shells."""
_NOTHING = {"", "true", "false", "null", "none", "nil", "<nil>", "~", "|", ">"}
_LITERAL = re.compile(r"(?:true|false|null|True|False|None|-?\d[\d.eE+-]*)(?=[\s,}\])]|\Z)")
"""Values that JSON and Python write without quotes."""
_KEY = re.compile(r"(?P<key>[\w-]+)[\"']?[ \t]*:")
_SCHEME = re.compile(r"(?:Bearer|Basic)[ \t]+(?=[^\s\"'])", re.IGNORECASE)


def value_span(
    text: str, name_at: int, at: int, *, assigns: str, name: str = "", is_quoted: bool = False
) -> Span | None:
    """Return where a value stands, without its quotes, or None where there is none.

    Args:
        text: the text.
        name_at: where the name begins.
        at: where the value begins.
        assigns: what stands between them; a new line where the value is an item of a list in YAML.
        name: the name, where that tells how far the value goes.
        is_quoted: whether the name is in quotes, as in JSON.
    """
    scheme = _SCHEME.match(text, at)
    at = scheme.end() if scheme else at
    before = _before(text, name_at)
    line_end = _line_end(text, at)
    if at == line_end or _BLOCK.match(text, at):
        is_key = assigns == ":" and _starts_line(text, name_at, before)
        return _block(text, name_at, line_end, is_text=at < line_end) if is_key else None
    quoted = _QUOTED.match(text, at)
    if quoted:
        start = quoted.end()
        end = _after_quoted(text, quoted, line_end)
        if end is None:
            below = _continued(text, name_at, line_end)
            end = _after_quoted(text, quoted, below)
        if end is None:
            return start, below
        # What follows at once belongs to it in a shell.
        glued = _GLUED.match(text, end)
        is_glued = glued is not None and glued.end() > end
        stop = glued.end() if glued and is_glued else end - len(quoted[0])
        return _unless_nothing(text, (start, stop))
    literal = _LITERAL.match(text, at) if is_quoted else None
    if literal:
        return _unless_nothing(text, literal.span())
    whole = assigns == "\n" or _begins(text, name_at, before) or _WHOLE_LINE.search(name) is not None
    if text[at] in "[{(":
        end = _after_bracket(text, at, line_end)
        if end is None:
            below = _continued(text, name_at, line_end)
            end = _after_bracket(text, at, below) or below
        keys = [found["key"] for found in _KEY.finditer(text, at, end)]
        if keys and refers_only(keys):
            return None
        return at, max(end, _bare_end(text, end, line_end, before, whole=False))
    return _unless_nothing(text, (at, _bare_end(text, at, line_end, before, whole=whole)))


def _unless_nothing(text: str, span: Span) -> Span | None:
    return None if text[slice(*span)].strip(" ,;").lower() in _NOTHING else span


def _before(text: str, at: int) -> str:
    """Return what stands before a place on its line, as far as it is near."""
    from_line = text.rfind("\n", max(0, at - _NEAR), at) + 1
    return text[max(from_line, at - _NEAR) : at]


def _begins(text: str, at: int, before: str) -> bool:
    """Tell whether a name begins a line or a quoted text, so that its value goes on to the end of that."""
    last = before[-NEAREST:]
    return (
        _starts_line(text, at, before)
        or _JUST_OPENED.search(last) is not None
        or _NEW_LINE.search(last) is not None
    )


def _starts_line(text: str, at: int, before: str) -> bool:
    near = at - len(before)
    return (near == 0 or text[near - 1] == "\n") and _LEAD.fullmatch(before) is not None


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found


def _continued(text: str, name_at: int, line_end: int) -> int:
    """Return the end of the lines below that are indented more than the name."""
    before = text[max(text.rfind("\n", 0, name_at) + 1, name_at - _NEAR) : name_at]
    stamp = re.match(STAMP, before)
    lead = before[stamp.end() if stamp else 0 :]
    bare = lead.rstrip("\"'\\")
    column = len(bare) if not bare.strip(" \t-?") else len(lead) - len(lead.lstrip(" \t"))
    end = line_end
    while end < len(text) and (line := _LINE.match(text, end + 1)):
        indent, is_blank = len(line["indent"]), line.end("indent") == line.end()
        if not is_blank and indent <= column and not (line["item"] and indent == column):
            break
        end = line.end()
    return end


def _block(text: str, name_at: int, line_end: int, *, is_text: bool) -> Span | None:
    """Return the lines that are the value of a key in YAML, or None where they only refer to a Secret."""
    end = _continued(text, name_at, line_end)
    keys = [] if is_text else [found["key"] for found in _KEY.finditer(text, line_end, end)]
    if end == line_end or (keys and refers_only(keys)):
        return None
    return line_end + 1, end


def _after_quoted(text: str, opened: re.Match[str], limit: int) -> int | None:
    """Return where a quoted value has ended, behind its quote, or None where it has not.

    Within JSON within JSON a quote has 1, 3, 7… backslashes before it; one of the value's own has more.
    """
    level, quote = len(opened["back"]), opened["quote"]
    at = opened.end()
    while True:
        found = text.find(quote, at, limit)
        if found < 0:
            return None
        at = found + 1
        closes = _closes(text, found, opened.end(), level)
        if quote == '"' or level:
            going_on = None
        elif closes:
            going_on = next((each for each in _APOSTROPHES if text.startswith(each, at, limit)), None)
        else:  # a shell takes a backslash for itself
            going_on = _SHELL_APOSTROPHE if text.startswith(_SHELL_APOSTROPHE, at, limit) else None
        if going_on is not None:
            at += len(going_on)
        elif closes:
            return at


def _closes(text: str, at: int, start: int, level: int) -> bool:
    """Tell whether the quote at a place closes what was opened with so many backslashes."""
    backslashes = 0
    while at - backslashes > start and text[at - backslashes - 1] == "\\":
        backslashes += 1
    return _fits(backslashes, level)


def _fits(backslashes: int, level: int) -> bool:
    """Tell whether a quote with so many backslashes before it closes one opened with as many as the level."""
    return backslashes % (2 * (level + 1)) == level


def _after_bracket(text: str, at: int, limit: int) -> int | None:
    """Return where a list or mapping has ended, or None where it has not."""
    depth = 0
    while True:
        found = _BRACKET.search(text, at, limit)
        if found is None:
            return None
        at = found.end()
        if found["open"]:
            depth += 1
        elif found["close"]:
            depth -= 1
            if not depth:
                return at
        else:
            opened = _QUOTED.match(text, found.start())
            after = None if opened is None else _after_quoted(text, opened, limit)
            if after is None:
                return None
            at = after


def _bare_end(text: str, at: int, limit: int, before: str, *, whole: bool) -> int:
    """Return where a value without quotes ends: at a space, or only at the end of its line.

    A quote ends it only if it closes one that was opened before: else it is part of the value.
    """
    opened: set[tuple[int, str]] | None = None
    for stop in _STOP.finditer(text, at, limit):
        if stop["space"]:
            if not whole:
                return stop.start()
            continue
        if not _DELIMITER.match(text, stop.end()):
            continue
        if opened is None:
            opened = {(len(found["back"]), found["quote"]) for found in _OPENED.finditer(before)}
        backslashes = len(stop["back"])
        if any(quote == stop["quote"] and _fits(backslashes, level) for level, quote in opened):
            return stop.start()
    return limit
