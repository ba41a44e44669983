"""``kubectl disagg images``: every image that the chart and deployments need, offline, to be mirrored."""

from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from disagg_operator.cli import documents
from disagg_operator.cli.needed_images import (
    Need,
    by_image,
    chart_images,
    laid_over,
    of_chart,
    of_plan,
    part,
)
from disagg_operator.cli.planning import planned
from disagg_operator.cli.profiles import ProfilesFolder, catalogue
from disagg_operator.cli.render import manifests
from disagg_operator.cli.terminal import Form, UserError, fail, show, warn
from disagg_operator.plan.cluster import UNSEEN
from disagg_operator.plan.installation import Installation
from disagg_operator.platforms.catalogue import Catalogue
from disagg_operator.platforms.faults import ProfileError
from disagg_operator.platforms.folder import with_values

_HEADINGS = ("Image", "Needed by", "Why", "Where it is set, or said")


def images(
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--file",
            "-f",
            help="YAML file with DisaggDeployments; - reads stdin. Default: what the chart alone may need.",
            show_default=False,
        ),
    ] = None,
    values: Annotated[
        list[Path] | None,
        typer.Option(
            "--values", help="YAML file with values of the chart, as Helm gets them.", show_default=False
        ),
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of resources that name none.")
    ] = "default",
    *,
    names: Annotated[
        bool, typer.Option("--names", help="Print the references alone, of those that a registry has.")
    ] = False,
    profiles: ProfilesFolder = None,
    form: Annotated[Form, typer.Option("--output", "-o", help="How to print the list.")] = Form.TEXT,
) -> None:
    """List the images that the chart and DisaggDeployments need, and where each comes from."""
    try:
        given = _values(values or [])
        chart = chart_images(given, metadata.version("disagg-operator"))
        installation = Installation(
            worker_image=chart.worker, service_images=chart.services, catalogue=_catalogue(given, profiles)
        )
        plans = [
            planned(document, namespace, installation, UNSEEN, file)
            for file in files or []
            for document in documents.read(file)
        ]
    except UserError as error:
        fail(error)
    found = by_image(
        [
            *of_chart(chart, with_services=not plans),
            *(need for plan in plans for need in of_plan(plan, manifests(plan), chart)),
        ]
    )
    if names:
        _print_names(found)
    elif not documents.told([_entry(image, uses) for image, uses in found.items()], form):
        show(_HEADINGS, [_row(image, uses) for image, uses in found.items()])


def _values(files: list[Path]) -> dict[str, Any]:
    """Return the values of files, the later ones over those before, as Helm does."""
    found: dict[str, Any] = {}
    for file in files:
        for document in documents.read_any(str(file)):
            if not isinstance(document, dict | None):
                raise UserError(f"{file}: holds no values of the chart, which are a map")
            found = laid_over(found, document or {})
    return found


def _catalogue(values: dict[str, Any], folder: Path | None) -> Catalogue:
    """Return the profiles: the package's, those of a folder, and those that the chart would install."""
    platforms = part(values, "platforms")
    try:
        return with_values(catalogue(folder), part(platforms, "machines"), part(platforms, "fabrics"))
    except ProfileError as error:
        raise UserError(f"values of the chart: platforms: {error}") from None


def _print_names(found: Mapping[str, Sequence[Need]]) -> None:
    for image, uses in found.items():
        if uses[0].in_registry:
            typer.echo(image)
        else:
            warn(f"{image}: {uses[0].reason}")


def _entry(image: str, uses: Sequence[Need]) -> dict[str, Any]:
    return {
        "image": image,
        "inRegistry": uses[0].in_registry,
        "neededBy": [{"name": use.by, "reason": use.reason, "source": use.source} for use in uses],
    }


def _row(image: str, uses: Sequence[Need]) -> tuple[str, str, str, str]:
    def lines(told: Callable[[Need], str]) -> str:
        return "\n".join(dict.fromkeys(map(told, uses)))

    return image, lines(lambda use: use.by), lines(lambda use: use.reason), lines(lambda use: use.source)
