"""The profiles that a command knows: those of the package, and those of a folder that the user names."""

from pathlib import Path
from typing import Annotated

import typer

from disagg_operator.cli.terminal import UserError
from disagg_operator.platforms.catalogue import Catalogue, builtin
from disagg_operator.platforms.faults import ProfileError
from disagg_operator.platforms.folder import with_folder

ProfilesFolder = Annotated[
    Path | None,
    typer.Option(
        "--profiles",
        help="Folder with further profiles: machines/NAME.yaml and fabrics/NAME.yaml.",
        show_default=False,
    ),
]
"""Option of commands that plan deployments."""


def catalogue(folder: Path | None) -> Catalogue:
    """Return the profiles.

    Raises:
        UserError: a profile of the folder cannot be used.
    """
    if folder is None:
        return builtin()
    try:
        return with_folder(builtin(), folder)
    except ProfileError as error:
        raise UserError(str(error)) from None
