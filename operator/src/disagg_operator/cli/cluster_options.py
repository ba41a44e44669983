"""The options of commands that speak to a cluster, named as kubectl names them."""

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from disagg_operator.cli.place import Place

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")
_UNITS = {None: 1, "s": 1, "m": 60, "h": 3600}


def names(of: str) -> Callable[[typer.Context, str], list[str]]:
    """Return what offers names to a shell.

    Args:
        of: a key of `live.candidates.FOUND`.
    """

    def offered(context: typer.Context, incomplete: str) -> list[str]:
        from disagg_operator.cli.live import candidates  # noqa: PLC0415 - loads the Kubernetes client

        given = {field.name: context.params.get(field.name) for field in fields(Place)}
        place = Place(**{key: value for key, value in given.items() if value})
        return [name for name in candidates.FOUND[of](place) if name.startswith(incomplete)]

    return offered


NameArgument = Annotated[
    str, typer.Argument(help="Name of the DisaggDeployment.", autocompletion=names("deployments"))
]
NamespaceOption = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace of the deployment. Default: the context's.",
        show_default=False,
        autocompletion=names("namespaces"),
    ),
]
ContextOption = Annotated[
    str,
    typer.Option(
        "--context",
        help="Context of the kubeconfig. Default: the current one.",
        show_default=False,
        autocompletion=names("contexts"),
    ),
]
KubeconfigOption = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig", help="Default: $KUBECONFIG or ~/.kube/config, as for kubectl.", show_default=False
    ),
]


def seconds(text: str) -> float:
    """Return a duration in seconds, from a number or as kubectl writes it: ``90``, ``90s``, ``5m``, ``1h``.

    Raises:
        typer.BadParameter: it is neither.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise typer.BadParameter(f"{text!r} is no duration: write seconds, or 90s, 5m or 1h")
    return float(found[1]) * _UNITS[found[2]]
