"""Exit codes of commands that scripts ask about a deployment."""

import traceback
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperCommand

_CLICK_USAGE = 2


class Code(IntEnum):
    """Exit codes of commands that scripts ask about a deployment."""

    VERIFIED = 0
    NOT_VERIFIED = 1
    UNKNOWN = 2
    ERROR = 3
    TIMEOUT = 4
    BUG = 70
    """EX_SOFTWARE of sysexits.h: 1, which a stack trace has elsewhere, is taken."""
    USAGE = 64
    """EX_USAGE of sysexits.h: 2, which wrong usage has elsewhere, is taken."""


class ScriptedCommand(TyperCommand):
    """A command whose exit codes 1 and 2 are results: wrong usage and bugs have others."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; see `TyperCommand`."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if getattr(error, "exit_code", None) == _CLICK_USAGE:
                error.exit_code = Code.USAGE  # type: ignore[attr-defined]
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the command; see `TyperCommand`."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if hasattr(error, "exit_code") or isinstance(
                error, BrokenPipeError
            ):  # on purpose, or nobody reads
                raise
            traceback.print_exc()
            raise typer.Exit(Code.BUG) from None
