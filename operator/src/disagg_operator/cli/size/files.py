"""Finds the shape of a model: among those that are known, or in a ``config.json``."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from disagg_operator.api.wording import readable
from disagg_operator.cli.terminal import UserError
from disagg_operator.sizing.assumptions import models
from disagg_operator.sizing.model import ModelShape, Weights, shape_of

_CONFIG, _QUANTISATION = "config.json", "hf_quant_config.json"
_SHOWN = 100
"""Characters of a path in a message."""


def found(model: str, weights: Weights | None) -> ModelShape:
    """Return the shape of a model.

    Args:
        model: a ``config.json``, a directory with one, or the repository of a model that is known.
        weights: type of the weights; None for what the files say.

    Raises:
        UserError: there is no such file and no such model, or the file cannot be read or is no JSON object.
        SizingError: it cannot be counted.
    """
    path = config_file(model)
    if path is not None:
        beside = path.parent / _QUANTISATION
        with _looking_at(beside):
            quantised = beside.is_file()
        return shape_of(served(model), _read(path), _read(beside) if quantised else None, weights)
    if model in models():
        return shape_of(model, models()[model]["config"], weights=weights)
    raise UserError(
        f"--model: {readable(repr(model), _SHOWN)} is no config.json, no directory with one, and no model "
        f"that is known. Write the path of its config.json, or one of: {', '.join(models())}"
    )


def served(model: str) -> str:
    """Return what a model is called: its repository, or the name of its directory."""
    path = config_file(model)
    return model if path is None else path.parent.resolve().name


def config_file(model: str) -> Path | None:
    """Return the ``config.json`` that a user wrote, or whose directory; None where there is neither.

    Raises:
        UserError: the path cannot be looked at.
    """
    with _looking_at(model):
        path = Path(model).expanduser()
        path = path / _CONFIG if path.is_dir() else path
        return path if path.is_file() else None


@contextmanager
def _looking_at(path: Path | str) -> Iterator[None]:
    """Refuse a path that the file system does not let a user look at, such as one that is too long."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: of expanduser, without a home
        reason = error.strerror if isinstance(error, OSError) else "there is no such home directory"
        raise _unread(path, reason) from None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise _unread(path, reason) from None
    if not isinstance(read, dict):
        raise UserError(f"--model: {path} holds no JSON object. Write the path of a model's config.json")
    return read


def _unread(path: Path | str, reason: str | None) -> UserError:
    shown = readable(str(path), _SHOWN)
    return UserError(f"--model: {shown} cannot be read: {reason}. Write the path of a model's config.json")
