"""The model: its name, and where its files come from."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from disagg_operator.api.v1alpha1.patterns import HUB_REPOSITORY
from disagg_operator.cli.convert.command import Flag
from disagg_operator.cli.convert.draft import Draft
from disagg_operator.cli.convert.faults import ConversionError
from disagg_operator.cli.convert.graph import Variable, Volume, within
from disagg_operator.cli.convert.part import Part
from disagg_operator.cli.convert.roles import Cast, Worker

PATH_FLAGS = ("--model-path", "--model")
NAME_FLAGS = ("--served-model-name", "--model-name")
TOKEN = "HF_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_VARIABLES = (TOKEN, "HUGGING_FACE_HUB_TOKEN")
HUB_HOME = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
"""Variables by which the hub's library is told where to keep what it downloads."""
SOURCE = "spec.model.source"


def write_model(draft: Draft, cast: Cast) -> None:
    """Write ``spec.model``.

    Raises:
        ConversionError: a worker names no model, or the roles have different ones.
    """
    paths = [_flag(worker, *PATH_FLAGS) for worker in cast.workers]
    names = [worker.command.flag(*NAME_FLAGS) for worker in cast.workers]
    path = _same([flag.value for flag in paths], "model paths")
    name = _same([flag.value if flag else path for flag in names], "model names")
    draft.write("spec.model.name", name, *(flag.part for flag in names if flag))
    parts = [flag.part for flag in paths]
    volumes = [worker.component.volume_of(path) for worker in cast.workers]
    if not path.startswith(("/", ".")) and re.fullmatch(HUB_REPOSITORY, path):
        _write_hub(draft, cast, path, parts)
        _write_cache(draft, cast)
    elif volumes[0] is not None and volumes[0].claim:
        _write_claim(draft, cast, path, parts)
    else:
        why = "no volume of the file is mounted there, so it has to be in the image"
        absolute = str(PurePosixPath("/", path))
        draft.write(f"{SOURCE}.runtimeImage.path", absolute, *parts, why=why)


def _flag(worker: Worker, *names: str) -> Flag:
    flag = worker.command.flag(*names)
    if flag is None or not flag.value:
        raise ConversionError(
            f"component {worker.component.name} names no model. Write {' or '.join(names)} into its command"
        )
    return flag


def _same(values: list[str], what: str) -> str:
    if len(set(values)) > 1:
        raise ConversionError(
            f"prefill and decode have different {what}: {' and '.join(values)}. Use one for both"
        )
    return values[0]


def _write_hub(draft: Draft, cast: Cast, repository: str, parts: list[Part]) -> None:
    draft.write(f"{SOURCE}.huggingFace.repository", repository, *parts)
    for worker in cast.workers:
        for source in worker.component.variable_sources():
            if source.of_hub:
                reference = {"name": source.secret, "key": TOKEN}
                why = f"the token is read from its key {TOKEN}; other keys are no variables any more"
                draft.write(f"{SOURCE}.huggingFace.tokenSecretRef", reference, source.part, why=why)
    for variable in tokens(cast):
        of_secret = variable.part.at("valueFrom", "secretKeyRef")
        if of_secret:
            secret = {"name": of_secret["name"].text, "key": of_secret["key"].text}
            draft.write(f"{SOURCE}.huggingFace.tokenSecretRef", secret, variable.part)
        else:
            why = "a token belongs into a Secret: write spec.model.source.huggingFace.tokenSecretRef"
            draft.ledger.dropped(variable.part, why)


def _write_cache(draft: Draft, cast: Cast) -> None:
    """Write the volume in which the hub's library keeps what it downloads."""
    field = f"{SOURCE}.huggingFace.cache.persistentVolumeClaim"
    for worker in cast.workers:
        for variable, volume in _hub_homes(worker):
            why = "the model is fetched there once, beside what is there, and read as a directory"
            _take(draft, worker, volume, field)
            draft.write(f"{field}.claimName", volume.claim, variable.part, why=why)
            inside = _inside(volume, variable.value or "")
            if inside:
                draft.write(f"{field}.path", inside)


def _write_claim(draft: Draft, cast: Cast, path: str, parts: list[Part]) -> None:
    field = f"{SOURCE}.persistentVolumeClaim"
    for worker in cast.workers:
        volume = worker.component.volume_of(path)
        if volume is None:
            continue
        _take(draft, worker, volume, field)
        draft.write(f"{field}.claimName", volume.claim)
        draft.note(f"{field}.path", *parts)
        if _inside(volume, path):
            draft.write(f"{field}.path", _inside(volume, path))
        for variable, home in _hub_homes(worker):
            if home.claim == volume.claim:
                draft.ledger.derived(
                    variable.part, "the model is read as a directory, not by the hub's library"
                )


def _take(draft: Draft, worker: Worker, volume: Volume, field: str) -> None:
    """Note that a field says a volume now, unless variables name other directories on it."""
    variables = worker.component.effective().values()
    named = [
        each
        for each in variables
        if each.name not in (*HUB_HOME, *worker.command.used) and within(each.value or "", volume.path)
    ]
    if not named:
        draft.note(field, volume.mount, *volume.declared)


def _hub_homes(worker: Worker) -> Iterator[tuple[Variable, Volume]]:
    """Yield the variables that name a directory for the hub's library on a claim, with the volume."""
    variables = worker.component.effective()
    for name in HUB_HOME:
        volume = worker.component.volume_of(variables[name].value or "") if name in variables else None
        if volume is not None and volume.claim:
            yield variables[name], volume


def _inside(volume: Volume, path: str) -> str:
    return path[len(volume.path.rstrip("/")) :].strip("/")


def tokens(cast: Cast) -> list[Variable]:
    """Return the variables that hold the token of the hub."""
    return [
        variable
        for worker in cast.workers
        for variable in worker.component.variables()
        if variable.name in TOKEN_VARIABLES
    ]
