"""What a container runs: the Python module and its flags, whether they are words or a line for a shell.

A shell line is read as far as such files go: variables that the file sets, commands on lines of their own or
between ``&&`` and ``;``, lines continued by a backslash, and files that ``cat > FILE <<WORD`` writes. Nothing
is run.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import yaml

from disagg_operator.cli.convert.graph import Component
from disagg_operator.cli.convert.ledger import Ledger
from disagg_operator.cli.convert.part import Part

_SHELLS = ("sh", "bash", "dash", "ash")
_HEREDOC = re.compile(
    r"^[ \t]*cat[ \t]*>[ \t]*(?P<file>\S+)[ \t]*<<-?[ \t]*(?P<quote>['\"]?)(?P<word>\w+)(?P=quote)[ \t]*\n"
    r"(?P<text>.*?)^[ \t]*(?P=word)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_BY_SHELL = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_BY_KUBERNETES = re.compile(r"\$\((\w+)\)")
_FLAG = re.compile(r"--?[A-Za-z]")
_PUNCTUATION = ";&|<>"
_MODULE = re.compile(r"dynamo(\.\w+)+")


@dataclass(frozen=True)
class Flag:
    """A flag of the module.

    Attributes:
        name: as written, with its dashes.
        value: its value; empty for a flag that has none.
        part: where it is.
    """

    name: str
    value: str
    part: Part


@dataclass(frozen=True)
class Command:
    """What a container runs.

    Attributes:
        module: Python module, such as ``dynamo.trtllm``; nothing where none is run.
        program: where it is named.
        flags: its flags, in their order.
        steps: what a shell does before or after it.
        files: files that the shell writes, by path, each as text.
        used: names of variables that its line holds.
    """

    module: str = ""
    program: Part | None = None
    flags: tuple[Flag, ...] = ()
    steps: tuple[Part, ...] = ()
    files: Mapping[str, Part] = field(default_factory=dict)
    used: frozenset[str] = frozenset()

    def flag(self, *names: str) -> Flag | None:
        """Return the flag of one of several names that counts, which is the last."""
        return next((each for each in reversed(self.flags) if each.name in names), None)

    def parts(self) -> list[Part]:
        """Return all parts of the command."""
        program = [] if self.program is None else [self.program]
        return [*program, *(each.part for each in self.flags), *self.steps, *self.files.values()]


def open_command(ledger: Ledger, component: Component, command: Command) -> None:
    """Note that a component's command is read flag by flag."""
    container = component.container
    place = container["args"] or container["command"]
    ledger.opened(container["command"], ())
    ledger.opened(place, command.parts())


def command_of(component: Component) -> Command:
    """Return what a component's main container runs."""
    container = component.container
    written = [part.text for key in ("command", "args") for part in container[key].entries()]
    if not written:
        written = [container[key].text for key in ("command", "args") if container[key].text]
    place = _Place(container)
    values = {name: each.value for name, each in component.effective().items() if each.value is not None}
    words = [_expanded(_BY_KUBERNETES, word, values) for word in written]
    used = {name for word in written for name in _BY_KUBERNETES.findall(word)}
    if not _in_shell(words):
        found = _read(place, words) or Command(steps=place.steps([shlex.join(words)] if words else []))
        return replace(found, used=frozenset(used))
    script = "\n".join(word for word in words[1:] if not word.startswith("-"))
    used |= {one or other for one, other in _BY_SHELL.findall(script)}
    return replace(_shell(place, script, values), used=frozenset(used))


@dataclass(frozen=True)
class _Place:
    """The container whose command is read."""

    container: Part

    def part(self, key: str, value: Any) -> Part:
        args = self.container["args"] or self.container["command"]
        return Part(args.document, (*args.keys, key), value)

    def steps(self, lines: list[str]) -> tuple[Part, ...]:
        return tuple(self.part(f"- {number}", line) for number, line in enumerate(lines, start=1))


def _in_shell(words: list[str]) -> bool:
    return (
        len(words) > 1
        and PurePosixPath(words[0]).name in _SHELLS
        and any(word.startswith("-") and "c" in word for word in words[1:3])
    )


def _shell(place: _Place, script: str, values: Mapping[str, str]) -> Command:
    files = {
        each["file"]: place.part(f"- {each['file']}", each["text"]) for each in _HEREDOC.finditer(script)
    }
    script = _HEREDOC.sub("", script).replace("\\\n", " ")
    steps: list[str] = []
    found: Command | None = None
    for line in _lines(script):
        command = _read(place, _words(_expanded(_BY_SHELL, line, values))) if found is None else None
        if command is None:
            steps.append(line)
        else:
            found = command
    found = found or Command()
    return Command(found.module, found.program, found.flags, place.steps(steps), files)


def _lines(script: str) -> Iterator[str]:
    """Yield the commands of a script one by one, without redirections and what they are piped into."""
    for line in _unbroken(script):
        try:
            lexer = shlex.shlex(line, posix=False, punctuation_chars=_PUNCTUATION)
            lexer.whitespace_split = True
            lexer.commenters = ""
            words = list(lexer)
        except ValueError:
            yield line
            continue
        yield from _commands(words)


def _commands(words: list[str]) -> Iterator[str]:
    command: list[str] = []
    piped = redirected = False
    for word in words:
        if not set(word) <= set(_PUNCTUATION):
            if not piped and not redirected:
                command.append(word)
            redirected = False
        elif word[0] in "<>":
            redirected = True
            if command and command[-1].isdigit():
                command.pop()
        elif word == "|":
            piped = True
        else:
            if command:
                yield " ".join(command)
            command, piped = [], False
    if command:
        yield " ".join(command)


def _unbroken(script: str) -> Iterator[str]:
    """Yield the lines of a script, those joined that a quotation spans."""
    pending = ""
    for line in script.splitlines():
        pending = f"{pending}\n{line}" if pending else line.strip()
        if pending.count("'") % 2 == 0 and pending.count('"') % 2 == 0:
            if pending and not pending.startswith("#"):
                yield pending
            pending = ""
    if pending:
        yield pending


def _expanded(variable: re.Pattern[str], line: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        return values.get(next(filter(None, match.groups())), match.group(0))

    return variable.sub(value, line)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _read(place: _Place, words: list[str]) -> Command | None:
    """Return the command whose words run a module of Dynamo, or None."""
    for index, word in enumerate(words):
        if _MODULE.fullmatch(word) and (index == 0 or words[index - 1] == "-m"):
            break
    else:
        return None
    program = place.part(f"-m {word}", word)
    return Command(word, program, tuple(_flags(place, words[index + 1 :])))


def _flags(place: _Place, words: list[str]) -> Iterator[Flag]:
    index = 0
    while index < len(words):
        name, given, value = words[index].partition("=")
        index += 1
        if not _FLAG.match(name):
            # A positional word: no worker of Dynamo takes any, so it is told with its place.
            yield Flag(words[index - 1], "", place.part(f"- {words[index - 1]}", words[index - 1]))
            continue
        values = [value] if given else []
        while not given and index < len(words) and not _FLAG.match(words[index]):
            values.append(words[index])
            index += 1
        text = " ".join(values)
        yield Flag(name, text, place.part(name, text or True))


def typed(text: str) -> Any:
    """Return the value of a flag as YAML reads it: a number, true or false, a map of JSON, or text."""
    try:
        return yaml.safe_load(text) if text else True
    except yaml.YAMLError:
        return text
