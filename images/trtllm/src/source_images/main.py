"""The command line: print a plan as shell, or run it."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from source_images import checkout as checkouts
from source_images import eras as catalogue
from source_images import machine, wheel
from source_images.eras import Architecture, BuiltEra, Eras
from source_images.errors import ImageError
from source_images.plan import Outcome, Plan, Request, Step, Surroundings, Transfer
from source_images.planner import plan
from source_images.published import ENGINES
from testcluster.commands import logged
from testcluster.console import Progress, failures_as_sentences
from testcluster.errors import ClusterError
from testcluster.paths import default_paths

_RUNTIMES = catalogue.FOLDER.parents[1] / "operator/src/disagg_operator/platforms/runtimes"

app = typer.Typer(
    help="Make or name the TensorRT-LLM images of each era of Dynamo, as NVIDIA's pages say.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False, soft_wrap=True)
INTERRUPTED = "Interrupted. Run it again: Docker keeps the layers that were done."


@app.command()
def build(
    era: Annotated[str, typer.Argument(envvar="ERA", help="The era; `eras` lists them.")] = "",
    *,
    arch: Annotated[
        Architecture | None, typer.Option(envvar="ARCH", help="Of the image; default: of this machine.")
    ] = None,
    dynamo: Annotated[
        Path | None,
        typer.Option(envvar="DYNAMO", help="A checkout of ai-dynamo/dynamo, for eras that build."),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(envvar="VERSION", help="Dynamo's release, for eras whose images are published."),
    ] = None,
    tag: Annotated[
        str | None, typer.Option(envvar="TAG", help="Reference of the image that is made.")
    ] = None,
    transfer: Annotated[
        Transfer, typer.Option(envvar="TRANSFER", help="What is to move the KV cache.")
    ] = Transfer.NIXL,
    wheel_dir: Annotated[
        Path | None, typer.Option(envvar="WHEEL_DIR", help="Where build.sh keeps the TensorRT-LLM wheel.")
    ] = None,
    trtllm_commit: Annotated[
        str | None, typer.Option(envvar="TRTLLM_COMMIT", help="TensorRT-LLM to build, instead of main.")
    ] = None,
    base_image: Annotated[
        str | None, typer.Option(envvar="BASE_IMAGE", help="Image to lay EFA over, best with its digest.")
    ] = None,
    efa_installer: Annotated[
        str | None, typer.Option(envvar="EFA_INSTALLER", help="Version of the EFA installer.")
    ] = None,
    libfabric: Annotated[
        str | None, typer.Option(envvar="LIBFABRIC", help="Version of libfabric, on arm64.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", envvar="DRY_RUN", help="Print the commands as shell; do nothing.")
    ] = False,
    print_env: Annotated[
        bool,
        typer.Option("--print-env", envvar="PRINT_ENV", help="Print only what comes of it, as variables."),
    ] = False,
    disk_check: Annotated[
        bool, typer.Option(envvar="DISK_CHECK", help="Stop where the disk is too full.")
    ] = True,
) -> None:
    """Make an image, or name the one that NVIDIA publishes."""
    progress = Progress()
    with failures_as_sentences(progress, INTERRUPTED):
        eras = catalogue.load()
        request = Request(
            era=era,
            arch=arch or machine.host_architecture(),
            transfer=transfer,
            tag=tag,
            version=version,
            trtllm_commit=trtllm_commit,
            base_image=base_image,
            efa_installer=efa_installer,
            libfabric=libfabric,
        )
        checkout = _checkout(eras, era, dynamo, needed=not (dry_run or print_env))
        folder = (wheel_dir or eras.wheel_cache.path).absolute()
        made = plan(
            request,
            eras,
            Surroundings(checkout, wheel.read_cache(folder), machine.engine(ENGINES)),
        )
        if print_env:
            out.print("\n".join(_variables(made.outcome)), markup=False)
            return
        lacks = machine.lacks(made, eras, disk_check=disk_check)
        if dry_run:
            out.print("\n".join(_script(made, request, lacks)), markup=False)
            return
        if lacks:
            raise ImageError(
                "; ".join(lack.what for lack in lacks), remedy="; ".join(lack.remedy for lack in lacks)
            )
        _run(made, request, progress)
        out.print("\n".join(_to_write(made.outcome)), markup=False)


@app.command()
def eras() -> None:
    """List the eras."""
    table = Table("ERA", "DYNAMO", "NIXL ON", "IMAGE", "WHAT WAS SO", box=None)
    known = catalogue.load()
    for name in known.names():
        era = known.era(name)
        if isinstance(era, BuiltEra):
            table.add_row(name, era.releases, ", ".join(era.nixl_architectures), "built", era.about)
        else:
            table.add_row(name, f"from {era.first}", ", ".join(Architecture), "published", era.about)
    out.print(table)


@app.command(hidden=True)
def stamp(
    flags: Annotated[list[str], typer.Argument()],
    wheel_dir: Annotated[Path, typer.Option()],
    era: Annotated[str, typer.Option()],
    arch: Annotated[str, typer.Option()],
    dynamo_version: Annotated[str, typer.Option()] = "",
) -> None:
    """Check that the wheel that build.sh made has NIXL, and record what it was built with."""
    with failures_as_sentences(Progress(), INTERRUPTED):
        path = wheel.write_stamp(wheel_dir, era=era, flags=flags, arch=arch, dynamo=dynamo_version)
        out.print(f"{path}: {' '.join(flags)}", markup=False)


def _checkout(eras: Eras, era: str, folder: Path | None, *, needed: bool) -> checkouts.Checkout | None:
    if not isinstance(eras.era(era), BuiltEra):
        return None
    if folder is not None:
        return checkouts.read_checkout(folder.absolute())
    if needed:
        raise ImageError(
            f"DYNAMO: era {era} is built by a checkout of Dynamo, and none is named",
            remedy="git clone https://github.com/ai-dynamo/dynamo.git, and write DYNAMO=dynamo",
        )
    return None


def _script(made: Plan, request: Request, lacks: list[machine.Lack]) -> Iterator[str]:
    """The plan as a shell script: commands, and all else as comments."""
    yield f"# {request.era} for {request.arch}, KV cache by {request.transfer}. Dry run: nothing is done."
    for lack in lacks:
        yield f"# A real run would stop here: {lack.what}. What to do: {lack.remedy}."
    for note in made.notes:
        yield f"# {note}"
    for number, step in enumerate(made.steps, 1):
        yield f"\n# {number}. {step.title}. {step.why}"
        yield step.shell()
    yield ""
    yield from (f"# {line}" if line else "#" for line in _to_write(made.outcome))


def _run(made: Plan, request: Request, progress: Progress) -> None:
    """Run the steps one after another.

    Raises:
        ImageError: If one fails; it names the step, the reason and the log.
    """
    for note in made.notes:
        progress.note(note)
    log = default_paths().build_logs / f"image-trtllm-{request.era}-{request.arch}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    if made.steps:
        progress.note(f"Log: {log}")
    for number, step in enumerate(made.steps, 1):
        _run_step(step, f"{number}/{len(made.steps)}", log, progress)


def _run_step(step: Step, number: str, log: Path, progress: Progress) -> None:
    try:
        with progress.step(f"{number} {step.title}") as running:

            def show(line: str) -> None:
                running.detail = line

            logged(step.argv, log, cwd=step.cwd, on_line=show)
    except ClusterError as error:
        raise ImageError(
            f"Step {number} failed: {step.title}. {error.message}",
            remedy=error.remedy
            or "mend what the log names, and run it again; Docker keeps the layers that were done",
            log=log,
        ) from None


def _variables(outcome: Outcome) -> Iterator[str]:
    yield f"RUNTIME_IMAGE={shlex.quote(outcome.image)}"
    yield f"RUNTIME_VERSION={outcome.version or ''}"
    yield f"TRANSFER_METHOD={outcome.transfer}"


def _to_write(outcome: Outcome) -> Iterator[str]:
    """What to write into the DisaggDeployment, and what to see to."""
    yield "Write into the DisaggDeployment:"
    yield "  runtime:"
    yield "    engine: trtllm"
    yield "    frontend: dynamo"
    yield f'    version: "{outcome.version or "?"}"'
    yield f"    image: {outcome.image}"
    yield "  transfer:"
    yield f"    method: {outcome.transfer}"
    if outcome.version is None:
        yield "version: the Dynamo release that the checkout is nearest to; it is at none."
    elif not (_RUNTIMES / f"dynamo-{outcome.version}.yaml").is_file():
        known = ", ".join(sorted(path.stem.removeprefix("dynamo-") for path in _RUNTIMES.glob("dynamo-*")))
        yield f"The operator refuses Dynamo {outcome.version}: its catalogue holds {known}."
    if outcome.needs:
        yield f"{' and '.join(outcome.needs)} must run before the workers start."
    if "/" not in outcome.image:
        yield "Push the image to a registry that the nodes reach, and write that reference."
