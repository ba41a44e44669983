"""Profiles that an installation adds: ``machines/NAME.yaml`` and ``fabrics/NAME.yaml`` of a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from disagg_operator.platforms.catalogue import FABRICS, MACHINES, Catalogue
from disagg_operator.platforms.documents import read
from disagg_operator.platforms.faults import ProfileError
from disagg_operator.platforms.overlay import owned
from disagg_operator.platforms.profile import Document

SUFFIX = ".yaml"
REASON = "Set by a profile of this installation."


def with_folder(catalogue: Catalogue, folder: Path) -> Catalogue:
    """Return a catalogue that has the profiles of a folder too.

    Raises:
        ProfileError: a profile cannot be used. The message names its file, the field and the fault.
    """
    if not folder.is_dir():
        raise ProfileError(f"{folder}: there is no such folder")
    machines, fabrics = (_documents(folder / part, part) for part in (MACHINES, FABRICS))
    if not machines and not fabrics:
        raise ProfileError(f"{folder}: holds neither {MACHINES}/NAME{SUFFIX} nor {FABRICS}/NAME{SUFFIX}")
    return catalogue.with_profiles(machines, fabrics)


def with_values(catalogue: Catalogue, machines: Mapping[str, Any], fabrics: Mapping[str, Any]) -> Catalogue:
    """Return a catalogue that has the profiles too of which the chart makes such a folder.

    Args:
        catalogue: the profiles that are there.
        machines: machines of the chart's value `platforms` by name.
        fabrics: fabrics of it.

    Raises:
        ProfileError: a profile cannot be used. The message names its file there, the field and the fault.
    """
    added = (
        {name: _own(found, f"{part}/{name}{SUFFIX}") for name, found in profiles.items()}
        for part, profiles in ((MACHINES, machines), (FABRICS, fabrics))
    )
    return catalogue.with_profiles(*added)


def _documents(folder: Path, part: str) -> dict[str, Document]:
    # A ConfigMap is mounted with folders whose names begin with dots, which hold the same files again.
    files = sorted(folder.glob(f"[!.]*{SUFFIX}")) if folder.is_dir() else []
    return {file.name.removesuffix(SUFFIX): _document(file, f"{part}/{file.name}") for file in files}


def _document(file: Path, label: str) -> Document:
    try:
        found = read(file.read_text(encoding="utf-8"), label)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ProfileError(f"{label}: cannot be read: {reason}") from None
    except yaml.YAMLError as error:
        raise ProfileError(f"{label}: not YAML: {' '.join(str(error).split())}") from None
    return _own(found, label)


def _own(found: Any, label: str) -> Document:
    if not isinstance(found, dict):
        raise ProfileError(f"{label}: holds no map of a profile's fields")
    return owned(found, REASON, f"{label}, ")
