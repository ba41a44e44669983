"""``kubectl disagg platforms``: machines and fabrics, and every value of one with its source."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from disagg_operator.cli import documents
from disagg_operator.cli.profiles import catalogue
from disagg_operator.cli.terminal import Form, UserError, fail, show
from disagg_operator.platforms.catalogue import Catalogue, instead
from disagg_operator.platforms.listing import document, listed
from disagg_operator.platforms.profile import FabricProfile, MachineProfile
from disagg_operator.platforms.table import HEADINGS, row


def platforms(
    name: Annotated[
        str, typer.Argument(help="Platform or fabric to show. Default: all platforms.", show_default=False)
    ] = "",
    *,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--profiles",
            "-f",
            help="Folder with further profiles: machines/NAME.yaml and fabrics/NAME.yaml.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        Form,
        typer.Option("--output", "-o", help="yaml: whole profiles, to make others from."),
    ] = Form.TEXT,
) -> None:
    """List the platforms, or show what one derives, why, and who says so."""
    try:
        known = catalogue(folder)
        shown = _named(name, known) if name else list(known.machines.values())
    except UserError as error:
        fail(error)
    found: list[dict[str, Any]] = [document(profile) for profile in shown]
    if form is Form.JSON:
        typer.echo(json.dumps(found, indent=2))
    elif form is Form.YAML:
        typer.echo(documents.write(found), nl=False)
    elif name:
        for profile in shown:
            _print_values(profile)
    else:
        _print_all(known)


def _named(name: str, known: Catalogue) -> list[MachineProfile | FabricProfile]:
    if name in known.machines:
        machine = known.machines[name]
        return [machine, *known.fabrics_of(machine)]
    if name in known.fabrics:
        return [known.fabrics[name]]
    remedy = instead(name, [*known.machines, *known.fabrics])
    raise UserError(f"there is no platform and no fabric {name!r}. {remedy}")


def _print_all(known: Catalogue) -> None:
    rows = []
    for machine in known.machines.values():
        name, *cells, devices = row(machine)
        rows.append((name, *cells, "\n".join(devices)))
    show(HEADINGS, rows)


def _print_values(profile: MachineProfile | FabricProfile) -> None:
    sort = "machine" if isinstance(profile, MachineProfile) else "fabric"
    rows = [
        (
            *(value.part, value.name, value.value, value.when, value.reason),
            "\n".join(part for part in (value.line, value.source) if part),
        )
        for value in listed(profile)
    ]
    show(
        ("Part", "Name", "Value", "When", "Why", "Line in disagg_operator/platforms, document"),
        rows,
        title=f"{sort} {profile.name}: {profile.description}",
    )
    if isinstance(profile, FabricProfile) and not profile.promises:
        typer.echo("promises: nothing, so that any transport is as good as promised, TCP too")
