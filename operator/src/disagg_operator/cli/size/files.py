"""Finds the shape of a model: among those that are known, or in a ``config.json``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from disagg_operator.cli.terminal import UserError
from disagg_operator.sizing.assumptions import models
from disagg_operator.sizing.model import ModelShape, Weights, shape_of

_CONFIG, _QUANTISATION = "config.json", "hf_quant_config.json"


def found(model: str, weights: Weights | None) -> ModelShape:
    """Return the shape of a model.

    Args:
        model: a ``config.json``, a directory with one, or the repository of a model that is known.
        weights: type of the weights; None for what the files say.

    Raises:
        UserError: there is no such file and no such model, or the file is no JSON object.
        SizingError: it cannot be counted.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        path = path / _CONFIG
    if path.is_file():
        beside = path.parent / _QUANTISATION
        quantisation = _read(beside) if beside.is_file() else None
        return shape_of(served(model), _read(path), quantisation, weights)
    if model in models():
        return shape_of(model, models()[model]["config"], weights=weights)
    raise UserError(
        f"--model: {model!r} is no config.json, no directory with one, and no model that is known. "
        f"Write the path of its config.json, or one of: {', '.join(models())}"
    )


def served(model: str) -> str:
    """Return what a model is called: its repository, or the name of its directory."""
    path = Path(model).expanduser()
    if path.is_dir():
        return path.resolve().name
    return path.resolve().parent.name if path.is_file() else model


def _read(path: Path) -> Mapping[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise UserError(
            f"--model: {path} cannot be read: {reason}. Write the path of a model's config.json"
        ) from None
    if not isinstance(read, dict):
        raise UserError(f"--model: {path} holds no JSON object. Write the path of a model's config.json")
    return read
