"""The pages that users read, their blocks of code, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *(ROOT / "images").rglob("*.md"),
        *(ROOT / "charts").rglob("*.md"),
    ]
)
SHELL = ("sh", "bash", "console", "")
"""Languages of blocks that hold commands; one without a language may."""

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE
)
_PROGRAM = re.compile(r"(\.venv/bin/)?(kubectl|kubectl-disagg|make|helm)\b")
_INLINE = re.compile(r"`((?:kubectl[ -]disagg|make) [^`\n]+)`")
_PLACEHOLDER = re.compile(r"<([a-z-]+)>")
_ASSIGNMENT = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        page: where it is, from the repository's root.
        language: of the code; nothing for plain text.
        text: the code.
    """

    page: str
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One simple command, as a user types it.

    Attributes:
        page: where it is.
        line: the whole line, for reports.
        words: program and arguments, without redirections.
        variables: assignments before the program.
    """

    page: str
    line: str
    words: tuple[str, ...]
    variables: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.page}: {self.line}"


def blocks() -> list[Block]:
    """Return all blocks of all pages."""
    return [
        Block(str(page.relative_to(ROOT)), found["language"], found["text"])
        for page in PAGES
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def commands() -> list[Command]:
    """Return the commands of all blocks, in the order of the pages."""
    return [
        command
        for block in blocks()
        if block.language in SHELL
        for line in _lines(block)
        for command in _split(block.page, line)
    ]


def inline_commands() -> list[Command]:
    """Return the commands that stand in the middle of a text, where words in capitals stand for others."""
    return [
        Command(str(page.relative_to(ROOT)), text, tuple(text.split()))
        for page in PAGES
        for text in _INLINE.findall(_BLOCK.sub("", page.read_text(encoding="utf-8")))
    ]


def _lines(block: Block) -> Iterator[str]:
    """Return the command lines of a block: of output, only what follows a prompt."""
    lines = block.text.replace("\\\n", " ").splitlines()
    prompted = any(line.startswith("$ ") for line in lines)
    if prompted:
        yield from (line.removeprefix("$ ") for line in lines if line.startswith("$ "))
    elif block.language in ("sh", "bash") or (lines and _PROGRAM.match(lines[0])):
        yield from (line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))


def _split(page: str, line: str) -> Iterator[Command]:
    words: list[str] = []
    skip = False
    lexer = shlex.shlex(_PLACEHOLDER.sub(r"\1", line), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for word in [*lexer, ";"]:
        if skip:
            skip = False
        elif set(word) <= set("<>"):
            skip = True
        elif set(word) <= set("|&;"):
            if words:
                yield _command(page, line, words)
            words = []
        elif word != "…":
            words.append(word)


def _command(page: str, line: str, words: list[str]) -> Command:
    first = next((index for index, word in enumerate(words) if not _ASSIGNMENT.match(word)), len(words))
    return Command(page, line, tuple(words[first:]), tuple(words[:first]))
