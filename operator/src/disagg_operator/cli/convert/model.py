"""The model: its name, and where its files come from."""

import re
from pathlib import PurePosixPath

from disagg_operator.api.v1alpha1.patterns import HUB_REPOSITORY
from disagg_operator.cli.convert.command import Flag
from disagg_operator.cli.convert.draft import Draft
from disagg_operator.cli.convert.faults import ConversionError
from disagg_operator.cli.convert.graph import Variable, Volume
from disagg_operator.cli.convert.part import Part
from disagg_operator.cli.convert.roles import Cast, Worker

PATH_FLAGS = ("--model-path", "--model")
NAME_FLAGS = ("--served-model-name", "--model-name")
TOKEN = "HF_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_VARIABLES = (TOKEN, "HUGGING_FACE_HUB_TOKEN")
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
    elif volumes[0] is not None and volumes[0].claim:
        _write_claim(draft, path, [each for each in volumes if each is not None], parts)
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


def _write_claim(draft: Draft, path: str, volumes: list[Volume], parts: list[Part]) -> None:
    volume = volumes[0]
    inside = path[len(volume.path.rstrip("/")) :].strip("/")
    field = f"{SOURCE}.persistentVolumeClaim"
    declared = [part for each in volumes for part in (each.mount, *each.declared)]
    draft.write(f"{field}.claimName", volume.claim, *declared)
    draft.note(f"{field}.path", *parts)
    if inside:
        draft.write(f"{field}.path", inside)


def tokens(cast: Cast) -> list[Variable]:
    """Return the variables that hold the token of the hub."""
    return [
        variable
        for worker in cast.workers
        for variable in worker.component.variables()
        if variable.name in TOKEN_VARIABLES
    ]
