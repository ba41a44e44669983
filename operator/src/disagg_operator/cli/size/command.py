"""``kubectl disagg size``: reads the question from options, and prints the answer.

Exit codes: 0 it is sized and meets the targets, 1 it misses them or cannot be sized, 2 wrong usage.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from disagg_operator.api.problems import Refusal
from disagg_operator.cli import documents
from disagg_operator.cli.planning import judged, released_worker_image
from disagg_operator.cli.profiles import ProfilesFolder, catalogue
from disagg_operator.cli.size.asking import asked
from disagg_operator.cli.size.files import found, served
from disagg_operator.cli.size.report import document, print_answer
from disagg_operator.cli.terminal import Form, UserError, fail
from disagg_operator.plan.installation import Installation
from disagg_operator.platforms.catalogue import Catalogue
from disagg_operator.platforms.profile import FabricProfile, MachineProfile
from disagg_operator.sizing.answer import Answer, Question, answered
from disagg_operator.sizing.assumptions import Assumptions, assumed, gpu_of
from disagg_operator.sizing.errors import SizingError
from disagg_operator.sizing.fleet import Load
from disagg_operator.sizing.kv import KvType
from disagg_operator.sizing.model import ModelShape, Weights
from disagg_operator.sizing.nodes import sharing
from disagg_operator.sizing.resource import remarks, resource

_LONGEST = 100_000_000
"""Tokens."""
EPILOG = "Exit codes: 0 sized, 1 the targets are missed or it cannot be sized, 2 wrong usage."


class Estimator(StrEnum):
    """Who estimates."""

    ROOFLINE = "roofline"
    AICONFIGURATOR = "aiconfigurator"


def size(
    model: Annotated[
        str, typer.Option("--model", help="config.json, directory with one, or repository of a known model.")
    ],
    platform: Annotated[str, typer.Option("--platform", help="Machines: see kubectl disagg platforms.")],
    *,
    isl: Annotated[int, typer.Option("--isl", min=1, max=_LONGEST, help="Tokens of a prompt.")],
    max_isl: Annotated[
        int | None,
        typer.Option(
            "--max-isl",
            min=1,
            max=_LONGEST,
            help="Tokens of the longest prompt, which -o yaml leaves room for. Default: twice --isl.",
            show_default=False,
        ),
    ] = None,
    osl: Annotated[int, typer.Option("--osl", min=2, max=_LONGEST, help="Tokens of an answer.")],
    rate: Annotated[float, typer.Option("--rate", help="Requests a second.")],
    ttft: Annotated[float, typer.Option("--ttft", help="Milliseconds to the first token, at most.")] = 2000,
    itl: Annotated[float, typer.Option("--itl", help="Milliseconds from token to token, at most.")] = 30,
    kv_dtype: Annotated[
        KvType, typer.Option("--kv-dtype", help="Type of the KV cache. auto: what the model's files say.")
    ] = KvType.AUTO,
    weights: Annotated[
        Weights | None,
        typer.Option(
            "--weights", help="Type of the weights. Default: what the model's files say.", show_default=False
        ),
    ] = None,
    nixl_backend: Annotated[
        str, typer.Option("--nixl-backend", help="NIXL plugin. Default: the fabric's.", show_default=False)
    ] = "",
    gpu: Annotated[
        str, typer.Option("--gpu", help="GPU, such as H100. Default: the platform's.", show_default=False)
    ] = "",
    gpus_per_node: Annotated[
        int,
        typer.Option(
            "--gpus-per-node", min=0, help="GPUs of a node. Default: the platform's.", show_default=False
        ),
    ] = 0,
    assume: Annotated[
        list[str] | None,
        typer.Option(
            "--assume",
            metavar="NAME=VALUE",
            help="Replaces an assumption; may be repeated.",
            show_default=False,
        ),
    ] = None,
    estimator: Annotated[
        Estimator,
        typer.Option("--estimator", help="aiconfigurator: NVIDIA's, where it is installed. Takes minutes."),
    ] = Estimator.ROOFLINE,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE.svg",
            help="Draw the first token over the fabric's rate.",
            show_default=False,
        ),
    ] = None,
    profiles: ProfilesFolder = None,
    form: Annotated[Form, typer.Option("--output", "-o", help="yaml: the DisaggDeployment.")] = Form.TEXT,
) -> None:
    """Estimate what a model's requests need: KV cache, transfer, replicas, memory, and whether it pays."""
    try:
        shape = found(model, weights)
        question = _question(
            shape,
            catalogue(profiles),
            platform,
            Load(
                isl,
                osl,
                _positive("--rate", rate),
                _positive("--ttft", ttft) / 1e3,
                _positive("--itl", itl) / 1e3,
                _longest_prompt(isl, osl, max_isl, shape),
            ),
            kv_type=kv_dtype,
            backend=nixl_backend,
            gpus=(gpu, gpus_per_node),
            given=assume or [],
        )
        answer = _answer(question, estimator, model, catalogue(profiles).machine(platform), gpu)
        deployment = resource(answer, served(model))
        if form is Form.YAML:
            _check(deployment, catalogue(profiles))
        if plot is not None:
            _draw(answer, plot)
    except SizingError as error:
        fail(UserError(str(error)))
    except UserError as error:
        fail(error)
    _print(answer, deployment, form)
    if not answer.fleet.meets:
        raise typer.Exit(1)


def _question(
    shape: ModelShape,
    known: Catalogue,
    platform: str,
    load: Load,
    *,
    kv_type: KvType,
    backend: str,
    gpus: tuple[str, int],
    given: list[str],
) -> Question:
    try:
        machine = known.machine(platform)
    except Refusal as refusal:
        (problem,) = refusal.problems
        raise UserError(f"--platform: {problem.fault}. {problem.remedy}") from None
    fabrics = known.fabrics_of(machine)
    backend = backend or _backend(fabrics[0])
    taken: Assumptions = assumed(machine, fabrics[0], backend, shape, gpu=gpus[0], per_node=gpus[1]).replaced(
        given
    )
    nvlink = any(fabric.domain is not None for fabric in fabrics)
    shared = sharing(machine, fabrics)
    return Question(shape, platform, fabrics[0].name, backend, load, kv_type, taken, nvlink, shared)


def _longest_prompt(isl: int, osl: int, asked: int | None, shape: ModelShape) -> int:
    """Return the tokens of the longest prompt: twice the mean where nobody says, if the model takes that."""
    if asked is None:
        return max(isl, min(2 * isl, shape.longest - osl if shape.longest else 2 * isl))
    if asked < isl:
        raise UserError(f"--max-isl: {asked} is less than --isl {isl}. Write {isl} or more")
    return asked


def _backend(fabric: FabricProfile) -> str:
    """Return the plugin that drives a fabric for TensorRT-LLM."""
    return next(
        each.value for each in fabric.nixl_backends if "trtllm" in each.when.get("engine", ("trtllm",))
    )


def _answer(
    question: Question, estimator: Estimator, model: str, machine: MachineProfile, gpu: str
) -> Answer:
    if estimator is Estimator.AICONFIGURATOR:
        return asked(question, model, gpu_of(machine, gpu))
    return answered(question)


def _draw(answer: Answer, file: Path) -> None:
    if file.suffix != ".svg":
        raise UserError(f"--plot: {file} is no name of an SVG file. Write --plot size.svg, for example")
    try:
        from disagg_operator.cli.size.picture import svg  # noqa: PLC0415 - an extra, and slow to load
    except ModuleNotFoundError as error:
        raise UserError(
            f"--plot: drawing needs {error.name}. Install it with: pip install 'disagg-operator[plot]'; "
            "without --plot, bars show the same"
        ) from None
    try:
        file.write_text(svg(answer), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--plot: {file} cannot be written: {error.strerror}. Write another path") from None


def _check(deployment: dict[str, Any], known: Catalogue) -> None:
    """Refuse an answer that the operator would refuse as one deployment."""
    refused, _ = judged(deployment, Installation(worker_image=released_worker_image(), catalogue=known))
    if refused:
        faults = "\n".join(f"  {problem}" for problem in refused)
        raise UserError(
            "--output: this answer cannot be one DisaggDeployment. Write a lower --rate and make several "
            f"deployments of it, or see the answer with -o text:\n{faults}"
        )


def _print(answer: Answer, deployment: dict[str, Any], form: Form) -> None:
    if form is Form.JSON:
        typer.echo(json.dumps(document(answer), indent=2))
    elif form is Form.YAML:
        typer.echo(f"# An estimate by {answer.method}.")
        typer.echo(f"# Disaggregation {answer.verdict}: {answer.why}.")
        for line in remarks(answer, deployment):
            typer.echo(f"# {line}")
        typer.echo(documents.write([deployment]), nl=False)
    else:
        print_answer(answer)


def _positive(option: str, value: float) -> float:
    if not 0 < value < float("inf"):
        raise UserError(f"{option}: {value:g} is no number above 0. Write {option} 10, for example")
    return value
