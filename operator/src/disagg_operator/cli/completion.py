"""Entry point of ``kubectl_complete-disagg``, which kubectl asks for the words that may follow.

kubectl passes the words after ``disagg``, the last of which is begun or empty, and reads a candidate a line,
with its description after a tabulator, and at last ``:DIRECTIVE``, which tells the shell what else it may
offer; see https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/. Typer finds the candidates and
writes them as for fish, which wants the same lines.

Invariant: whatever goes wrong, nothing but candidates and the directive is printed.
"""

import os
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

from typer.completion import get_completion_inspect_parameters

from disagg_operator.cli.main import app

_PROGRAM = "kubectl-disagg"
_FILES = ":0"
"""Cobra's ShellCompDirectiveDefault: the shell offers files where there is no candidate."""
_NO_FILES = ":4"
"""Cobra's ShellCompDirectiveNoFileComp."""


def main() -> None:
    """Print what may follow the words of the command line."""
    found = candidates(sys.argv[1:])
    sys.stdout.write("".join(f"{line}\n" for line in (*found, _NO_FILES if found else _FILES)))


def candidates(words: list[str]) -> list[str]:
    """Return the lines of the candidates for the last word.

    Args:
        words: the command line after the program's name; the last one is begun or empty.
    """
    *before, last = words or [""]
    line = shlex.join([_PROGRAM, *before]) + " " + (shlex.quote(last) if last else "")
    # The protocol of Typer's own scripts for fish; see `typer/_completion_shared.py`.
    os.environ |= {
        "_KUBECTL_DISAGG_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": line,
    }
    # Otherwise done for programs with --install-completion alone: lets Typer know the shells.
    get_completion_inspect_parameters()
    told = StringIO()
    try:
        with redirect_stdout(told), redirect_stderr(StringIO()):
            app(args=[], prog_name=_PROGRAM)
    except SystemExit as ended:
        return [] if ended.code else [line for line in told.getvalue().splitlines() if line]
    except Exception:  # noqa: BLE001 - a shell that completes has no place for errors
        return []
    return []
