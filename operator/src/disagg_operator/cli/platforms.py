"""``kubectl disagg platforms``: machines and fabrics, and every value of one with its source."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from disagg_operator.cli import documents
from disagg_operator.cli.profiles import catalogue
from disagg_operator.cli.terminal import UserError, fail, output
from disagg_operator.platforms.catalogue import Catalogue
from disagg_operator.platforms.listing import document, listed
from disagg_operator.platforms.profile import FabricProfile, MachineProfile
from disagg_operator.platforms.table import HEADINGS, row


class Form(StrEnum):
    """How profiles are printed."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


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
            output().print(_values(profile))
    else:
        output().print(_all(known))


def _named(name: str, known: Catalogue) -> list[MachineProfile | FabricProfile]:
    if name in known.machines:
        machine = known.machines[name]
        return [machine, *known.fabrics_of(machine)]
    if name in known.fabrics:
        return [known.fabrics[name]]
    raise UserError(
        f"there is no platform {name!r}. Write one of: {', '.join(known.machines)}; "
        f"or a fabric: {', '.join(known.fabrics)}"
    )


def _all(known: Catalogue) -> Table:
    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for machine in known.machines.values():
        name, *cells, devices = row(machine)
        table.add_row(*map(Text, (name, *cells)), Text("\n".join(devices)))
    return table


def _values(profile: MachineProfile | FabricProfile) -> Table:
    sort = "machine" if isinstance(profile, MachineProfile) else "fabric"
    title = f"{sort} {profile.name}: {profile.description}"
    table = Table(title=Text(title), title_justify="left", title_style="bold")
    for heading in ("Part", "Name", "Value", "When", "Why", "Profile line, document"):
        table.add_column(heading, overflow="fold")
    for value in listed(profile):
        behind = "\n".join(part for part in (value.line, value.source) if part)
        cells = (value.part, value.name, value.value, value.when, value.reason, behind)
        table.add_row(*map(Text, cells))
    return table
