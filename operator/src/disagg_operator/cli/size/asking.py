"""Runs NVIDIA's aiconfigurator where it is installed, and reads what it wrote."""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from disagg_operator.cli.size.files import config_file
from disagg_operator.cli.terminal import UserError
from disagg_operator.sizing import aiconfigurator
from disagg_operator.sizing.answer import Answer, Question

_INSTEAD = "Or write --estimator roofline"
_LAST_LINES = 3


def asked(question: Question, model: str, system: str) -> Answer:
    """Return aiconfigurator's answer. It takes a minute or two.

    Args:
        question: what is asked.
        model: as the user wrote it: a repository that it knows, or where ``config.json`` is.
        system: its name of the GPUs; empty where it knows none.

    Raises:
        UserError: it is not installed, does not know the model or the GPUs, or finds no fleet.
        SizingError: it is a release whose tables are not known.
    """
    option = "--estimator aiconfigurator"
    program = shutil.which(aiconfigurator.PROGRAM)
    if program is None:
        raise UserError(
            f"{option}: it is not on the PATH. Run pip install aiconfigurator==0.12.0 in an environment "
            "of its own and put "
            f"its bin folder on the PATH. {_INSTEAD}"
        )
    if not system:
        raise UserError(f"{option}: it does not know these GPUs. {_INSTEAD}")
    file = config_file(model)
    where = model if file is None else str(file.parent)
    with TemporaryDirectory() as folder:
        command = [program, *aiconfigurator.arguments(question, where, system, folder)[1:]]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell, own words
        tables = {
            each.parent.name: each.read_text("utf-8") for each in Path(folder).rglob(aiconfigurator.TABLE)
        }
    row = aiconfigurator.best(tables.get(aiconfigurator.DISAGGREGATED, ""))
    if row is None:
        told = [
            line for line in f"{ran.stdout}\n{ran.stderr}".splitlines() if "rror" in line or "support" in line
        ]
        said = "\n  ".join(told[-_LAST_LINES:])
        raise UserError(
            f"{option}: it found no fleet that meets the targets, or does not know this model on {system} "
            f"(exit code {ran.returncode}). Write larger --ttft and --itl. {_INSTEAD}"
            + (f"\n  {said}" if said else "")
        )
    both = aiconfigurator.best(tables.get(aiconfigurator.AGGREGATED, ""))
    return aiconfigurator.answered(question, row, both, _version(program))


def _version(program: str) -> str:
    ran = subprocess.run([program, "version"], capture_output=True, text=True, check=False)  # noqa: S603 - the same
    words = [word for word in ran.stdout.split() if word[:1].isdigit() and "." in word and ":" not in word]
    return words[-1] if words else "of an unknown version"
