"""Values that somebody might write on purpose: each once broke some program."""

from typing import Any

MEBIBYTE = 1024**2
"""Bytes, and characters of the longest texts."""

CHARACTERS = {
    "NUL": "\0",
    "line break": "\n",
    "carriage return": "\r\n",
    "next line": "\x85",
    "line separator": "\u2028",
    "escape": "\x1b[31m",
    "delete": "\x7f",
    "no-break space": "\u00a0",
    "zero width": "\u200b",
    "byte order mark": "\ufeff",
    "right-to-left override": "\u202e",
    "combining": "e\u0301\u0323",
    "composed": "é",
    "case that grows": "ß\u0130",
    "wide": "日本語",
    "beyond the first plane": "\U0001f600",
    "not a character": "\uffff",
    "Kelvin": "\u212a",
    "digits of another script": "\u0661\u0662",
}
"""Characters, by what is peculiar about them."""

SURROGATE = "\ud800"
"""No character at all: the API server stores another in its place, and no YAML holds it."""

SYNTAX = [
    *(
        "{{ x }}",
        "{% for %}",
        "${HOME}",
        "$(HOSTNAME)",
        "$$(A)",
        "`id`",
        "$(id)",
        "; rm -rf /",
        "&& true",
        "| sh",
    ),
    *(
        "'",
        '"',
        "'\"'",
        "\\",
        "\\n",
        "a: b",
        "- a",
        "# a",
        "&a",
        "*a",
        "!!python/object:os.system",
        "%YAML",
        "---",
    ),
    *("...", "{a: 1}", "[1]", "? a", "> a", "| a", "~", "null", "NaN", ".inf", "yes", "0o7", "1_000", "1:30"),
    *(
        "-",
        "--",
        "--help",
        "-o=json",
        "../../etc/passwd",
        "/../x",
        "a/../..",
        "//",
        "%s%n",
        "%(a)s",
        "{0.__class__}",
    ),
    *(
        "__proto__",
        "constructor",
        "<script>",
        "]]>",
        "\\u0000",
        "%00",
        "file:///etc/passwd",
        "http://[",
        "a@b:c",
    ),
]
SYNTAX += [
    "a..b",
    "a.-b",
    "-a",
    "a-",
    ".a",
    "a.",
    "A",
    "a_b",
    "a/b/c",
    "/a",
    "a/",
    "a.b/c",
    "A.b/c",
    "1",
    "0a",
]
"""Texts that mean something to YAML, a shell, a template or a path."""

LENGTHS = [
    1,
    22,
    23,
    31,
    32,
    52,
    53,
    57,
    58,
    62,
    63,
    64,
    65,
    128,
    252,
    253,
    254,
    256,
    257,
    316,
    317,
    318,
    1024,
    1025,
]
"""Characters: limits of Kubernetes' names, and one more or less."""

TEXTS = [
    *("", " ", "  a", "a ", "\t"),
    *CHARACTERS.values(),
    *(f"a{character}b" for character in CHARACTERS.values()),
    *SYNTAX,
    *("a" * length for length in LENGTHS),
    *("é" * length for length in (63, 126, 253)),
    "a" * 32768,
    "a" * 32769,
    "a\n" * 5000,
]

HUGE = [
    "x" * MEBIBYTE,
    "é" * (MEBIBYTE // 2),
    "a: b\n" * (MEBIBYTE // 5),
    {"x" * MEBIBYTE: 1},
    ["x"] * 100_000,
]
HUGE += [{f"k{number}": number for number in range(50_000)}]

QUANTITIES: list[Any] = [
    *(0, 1, -1, 1.5, 10**18, 2**63 - 1, 2**63, 10**30),
    *("0", "1", "-1", "+1", "1.5", ".5", "5.", ".", "1e3", "1E3", "1e-3", "1e400", "1e-400", "1e999999999"),
    *(
        "1n",
        "1u",
        "1m",
        "0.5m",
        "1k",
        "1K",
        "1M",
        "1G",
        "1T",
        "1P",
        "1E",
        "9E",
        "10E",
        "1Ki",
        "1Mi",
        "1Gi",
        "1Ti",
    ),
    *(
        "1Pi",
        "1Ei",
        "8Ei",
        "9999Ei",
        "1Zi",
        "1gb",
        "1GB",
        "1 Gi",
        " 1",
        "1 ",
        "1\n",
        "0x1",
        "1_000",
        "NaN",
        "inf",
    ),
    *(
        "9223372036854775807",
        "9223372036854775808",
        "0" * 64,
        "0" * 65,
        "1" * 40,
        "1.0000000000001",
        "\u0661Gi",
    ),
]

NUMBERS: list[Any] = [
    *(
        0,
        -1,
        1,
        1.0,
        2.0,
        0.5,
        -0.0,
        1e300,
        1e-300,
        2**31 - 1,
        2**31,
        -(2**31) - 1,
        2**53 + 1,
        2**63 - 1,
        2**63,
    ),
    *(-(2**63) - 1, 2**64, 10**30, 10**308, 10**400),
]


def nested(depth: int, *, lists: bool = False) -> Any:
    """Return a map in a map in a map, or the same of lists."""
    value: Any = [] if lists else {}
    for _ in range(depth):
        value = [value] if lists else {"x": value}
    return value


DEPTHS = [10, 60, 190, 260, 900]
"""Levels, around those at which parsers give up."""

NESTED = [nested(depth, lists=lists) for depth in DEPTHS for lists in (False, True)]

HOSTILE: list[Any] = [*TEXTS, *QUANTITIES, *NUMBERS, *NESTED, SURROGATE, f"a{SURROGATE}b", None, True, [], {}]
HOSTILE += [[None], [[]], {"": ""}, {"a": None}, [1, "a", None], {"a": {"a": {"a": []}}}]
