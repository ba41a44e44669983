"""``kubectl disagg chat``: one request to a deployment's frontend, and how fast the answer came."""

import sys
import time
from typing import Annotated, Any

import typer

from disagg_operator.cli import documents
from disagg_operator.cli.cluster_options import (
    ContextOption,
    KubeconfigOption,
    NameArgument,
    NamespaceOption,
    seconds,
)
from disagg_operator.cli.connecting import connected
from disagg_operator.cli.exit_codes import Code
from disagg_operator.cli.place import Place
from disagg_operator.cli.streamed import Answer, summary
from disagg_operator.cli.terminal import Form, UserError, errors, fail, printable

EPILOG = "Exit codes: 0 answered, 3 there was no answer, 64 wrong usage, 130 interrupted."
_PROMPT = "Say in one sentence what disaggregated serving of a language model is."


def chat(
    name: NameArgument,
    prompt: Annotated[str, typer.Argument(help="The question.")] = _PROMPT,
    *,
    system: Annotated[
        str, typer.Option("--system", help="What the model is told before.", show_default=False)
    ] = "",
    most: Annotated[int, typer.Option("--max-tokens", min=1, help="Where the answer ends.")] = 128,
    url: Annotated[
        str,
        typer.Option(
            "--url",
            help="Address of the frontend, such as a port-forward's. Default: the API server's proxy.",
            show_default=False,
        ),
    ] = "",
    timeout: Annotated[
        float,
        typer.Option("--timeout", parser=seconds, metavar="DURATION", help="Longest silence, such as 90s."),
    ] = "2m",  # type: ignore[assignment]  # the parser reads it
    form: Annotated[
        Form, typer.Option("--output", "-o", help="json, yaml: the whole answer with its times, at its end.")
    ] = Form.TEXT,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Send a chat request, print the answer as it comes, and say how fast it came."""
    from disagg_operator.cli.live import chatting  # noqa: PLC0415 - loads the Kubernetes client

    in_terminal, midway = sys.stdout.isatty(), False

    def tell(text: str) -> None:
        nonlocal midway
        if form is Form.TEXT:
            sys.stdout.write(printable(text) if in_terminal else text)
            sys.stdout.flush()
            midway = True

    async def work(connection: Any) -> Answer:
        wish = chatting.Wish(name, prompt, system, most, url, timeout)
        return await chatting.chat(connection, wish, time.monotonic, tell)

    try:
        answer = connected(Place(namespace, context, kubeconfig), work)
    except UserError as error:
        if midway:
            typer.echo()
        fail(error, Code.ERROR)
    whole = answer.document()
    if not documents.told(whole, form):
        typer.echo()
        errors().print(summary(whole, most), style="dim", highlight=False, markup=False, soft_wrap=True)
