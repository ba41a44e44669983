"""``kubectl disagg profile``: runs NVIDIA Nsight Systems in a worker, and fetches its report."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from disagg_operator.cli.cluster_options import ContextOption, KubeconfigOption, NameArgument, NamespaceOption
from disagg_operator.cli.connecting import connected
from disagg_operator.cli.place import Place
from disagg_operator.cli.steps import Steps
from disagg_operator.cli.terminal import UserError, fail


class Role(StrEnum):
    """Roles whose workers can be profiled."""

    PREFILL = "prefill"
    DECODE = "decode"


def profile(
    name: NameArgument,
    *,
    role: Annotated[Role, typer.Option(help="Role of the worker.")] = Role.DECODE,
    seconds: Annotated[int, typer.Option(min=1, max=3600, help="How long to profile.")] = 30,
    pod: Annotated[
        str, typer.Option(help="The worker's pod. Default: the first that is ready.", show_default=False)
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", help="File for the report. Default: POD.nsys-rep.", show_default=False),
    ] = None,
    ib_switches: Annotated[
        str, typer.Option(help="GUIDs of InfiniBand switches to measure, with commas.", show_default=False)
    ] = "",
    flag: Annotated[
        list[str] | None,
        typer.Option(
            help="Flag of `nsys profile` to add, or to replace one by: --flag=--sample=none. Repeatable.",
            show_default=False,
        ),
    ] = None,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Run nsys in a worker, where its image has it, and fetch the report.

    It measures the GPUs, NICs and storage of the worker's node. Calls of CUDA and UCX are traced only in
    processes that nsys itself started, which the engine is not: see docs/verification.md.
    """
    from disagg_operator.cli.live import profiling  # noqa: PLC0415 - loads the Kubernetes client

    wish = profiling.Wish(name, role, pod, seconds, tuple(flag or ()), ib_switches)

    async def work(connection: Any) -> None:
        with Steps(Console()) as steps:
            local = await profiling.profile(connection, wish, output, steps)
            steps.say(f"the report is in {local}: open it with nsys-ui, or read it by `nsys stats {local}`")

    try:
        connected(Place(namespace, context, kubeconfig), work)
    except UserError as error:
        fail(error)
