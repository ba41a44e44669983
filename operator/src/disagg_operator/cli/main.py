"""Entry point of ``kubectl-disagg``, which kubectl finds on the PATH as ``kubectl disagg``."""

from importlib import metadata
from typing import Annotated

import typer

from disagg_operator.cli.commands import LoadedWhenCalled

app = typer.Typer(
    name="kubectl-disagg",
    cls=LoadedWhenCalled,
    help="Disaggregated LLM serving on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kubectl-disagg {metadata.version('disagg-operator')}")
        raise typer.Exit


@app.callback()
def _commands(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Disaggregated LLM serving on Kubernetes."""


def main() -> None:
    """Run the command line."""
    app()
