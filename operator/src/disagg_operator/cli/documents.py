"""Reads resources from YAML files or standard input, and writes manifests as multi-document YAML."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer
import yaml

from disagg_operator.api.v1alpha1 import API_VERSION, KIND
from disagg_operator.cli.terminal import Form, UserError

STANDARD_INPUT = "-"


def read(file: str) -> list[dict[str, Any]]:
    """Return the DisaggDeployments of a YAML file; other kinds of objects are passed over.

    Args:
        file: path, or ``-`` for standard input.

    Raises:
        UserError: there is no such file, it is not YAML, or it holds no DisaggDeployment.
    """
    found = [document for document in read_any(file) if isinstance(document, dict)]
    deployments = [document for document in found if document.get("kind") == KIND]
    if not deployments:
        kinds = ", ".join(sorted({str(document.get("kind")) for document in found})) or "no document"
        raise UserError(f"{label(file)}: holds no {KIND} of {API_VERSION} (found: {kinds})")
    return deployments


def write(objects: Iterable[Any]) -> str:
    """Return objects as multi-document YAML: same objects, same bytes."""
    return "".join(f"---\n{yaml.dump(each, Dumper=_Dumper, sort_keys=False, width=120)}" for each in objects)


def told(document: Any, form: Form) -> bool:
    """Print a document where one is asked for, and return whether it was: text is the caller's.

    Args:
        document: what is to be printed.
        form: as what.
    """
    if form is Form.JSON:
        typer.echo(json.dumps(document, indent=2))
    elif form is Form.YAML:
        typer.echo(write([document]), nl=False)
    return form is not Form.TEXT


class _Dumper(yaml.SafeDumper):
    """Writes repeated parts in full and multi-line text as blocks, as a person would."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True

    def analyze_scalar(self, scalar: str) -> Any:
        """Write a text as it is where all of it can be printed, and else escaped.

        Without that, one dash that is not ASCII turns a whole script into one escaped string.
        """
        self.allow_unicode = all(each.isprintable() or each == "\n" for each in scalar)
        return super().analyze_scalar(scalar)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def read_any(file: str) -> list[Any]:
    """Return all documents of a YAML file.

    Args:
        file: path, or ``-`` for standard input.

    Raises:
        UserError: there is no such file, or it is not YAML.
    """
    try:
        content = sys.stdin.read() if file == STANDARD_INPUT else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(f"{label(file)}: cannot be read: {reason}") from None
    try:
        return list(yaml.safe_load_all(content))
    except yaml.YAMLError as error:
        raise UserError(f"{label(file)}: not YAML: {error}") from None
    except RecursionError:
        raise UserError(f"{label(file)}: is nested too deeply") from None
    except ValueError as error:  # a date that there is not, a number of thousands of digits
        raise UserError(f"{label(file)}: holds a value that cannot be read: {error}") from None


def label(file: str) -> str:
    """Return how a file is called in front of people."""
    return "standard input" if file == STANDARD_INPUT else file
