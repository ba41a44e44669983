"""Entry point of ``kubectl-disagg``, which kubectl finds on the PATH as ``kubectl disagg``."""

from importlib import metadata
from typing import Annotated

import typer

from disagg_operator.cli import chat, logs, rollout, status, verify
from disagg_operator.cli.convert import command_line
from disagg_operator.cli.doctor import command_line as doctor
from disagg_operator.cli.exit_codes import ScriptedCommand
from disagg_operator.cli.images import images
from disagg_operator.cli.lint import lint
from disagg_operator.cli.platforms import platforms
from disagg_operator.cli.profile import profile
from disagg_operator.cli.render import render
from disagg_operator.cli.size import command as sizing

app = typer.Typer(
    name="kubectl-disagg",
    help="Disaggregated LLM serving on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(render)
app.command()(lint)
app.command(epilog=command_line.EPILOG)(command_line.convert)
app.command()(images)
app.command()(platforms)
app.command()(profile)
app.command(epilog=sizing.EPILOG)(sizing.size)
app.command(cls=ScriptedCommand, epilog=status.EPILOG)(status.status)
app.command(cls=ScriptedCommand, epilog=doctor.EPILOG)(doctor.doctor)
app.command(cls=ScriptedCommand, epilog=logs.EPILOG)(logs.logs)
app.command(cls=ScriptedCommand, epilog=chat.EPILOG)(chat.chat)
app.command(cls=ScriptedCommand, epilog=verify.EPILOG)(verify.verify)

app.add_typer(rollout.app)


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
