"""Plans for eras whose image Dynamo's build.sh makes. Pure."""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from source_images.checkout import SCRIPT, Checkout
from source_images.eras import FOLDER, Architecture, BuiltEra, Eras
from source_images.errors import ImageError
from source_images.plan import Outcome, Plan, Request, Step, Surroundings, Transfer
from source_images.wheel import Nixl, WheelCache, stamp_path

# build.sh gives every TensorRT-LLM image this name, beside the one that --tag asks for.
_LATEST = "dynamo:latest-trtllm"


@dataclass
class _Parts:
    """Steps and notes of a plan, as they come together."""

    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan_build(request: Request, era: BuiltEra, eras: Eras, around: Surroundings) -> Plan:
    """Plan a run of build.sh.

    Raises:
        ImageError: If TensorRT-LLM of the era cannot do what is asked, or the checkout is not of it.
    """
    with_nixl = request.transfer is Transfer.NIXL
    parts = _Parts()
    if around.checkout is None:
        parts.notes.append(
            "No checkout was looked at: DYNAMO names none. "
            f"git clone -b {era.checkout} https://github.com/ai-dynamo/dynamo.git makes one that fits."
        )
    else:
        _check_framework(around.checkout, era)
    if with_nixl:
        _add_nixl_build(parts, request, era, eras, around)
    else:
        why = f"UCX is the default of era {era.name} and needs no option ({era.source})."
        parts.steps.append(_build_step("Build the image", why, _arguments([], request), around))
    return Plan(
        steps=tuple(parts.steps),
        notes=tuple(parts.notes),
        outcome=Outcome(
            image=request.tag or _LATEST,
            version=around.checkout.release if around.checkout else None,
            transfer=request.transfer,
            needs=era.needs,
        ),
        compiles=with_nixl,
        engines=("docker",),
    )


def _add_nixl_build(parts: _Parts, request: Request, era: BuiltEra, eras: Eras, around: Surroundings) -> None:
    if request.arch not in era.nixl_architectures:
        raise ImageError(
            f"ARCH={request.arch}: TensorRT-LLM of era {era.name} has NIXL on "
            f"{' and '.join(era.nixl_architectures)} only ({era.source})",
            remedy="write `method: UCX` under spec.transfer, and build with TRANSFER=UCX",
        )
    flags = _nixl_flags(request, era)
    if around.checkout is not None:
        _check_options(parts, around.checkout, era, eras)
    _prepare_cache(parts, eras, around, _asked_wheel(flags, request, around))
    if "main" in flags:
        parts.notes.append(
            f"TensorRT-LLM's main has moved on since. For Dynamo {era.releases} NVIDIA's page came to name "
            f"another: TRTLLM_COMMIT={era.known_good_commit}."
        )
    arguments = _arguments(flags, request)
    if around.cache.folder != eras.wheel_cache.path:
        arguments += ["--tensorrtllm-pip-wheel-dir", str(around.cache.folder)]
    title = "Build the image, with TensorRT-LLM from source"
    parts.steps.append(_build_step(title, f"Options: {era.source}.", arguments, around))
    parts.steps.append(_stamp_step(flags, request, around))


def _check_framework(checkout: Checkout, era: BuiltEra) -> None:
    if "trtllm" not in checkout.frameworks:
        raise ImageError(
            f"DYNAMO: build.sh of {checkout.name} knows no framework trtllm, only "
            f"{', '.join(checkout.frameworks) or 'none'} (dynamo PR 2435 brought that name)",
            remedy=f"git -C {checkout.folder} checkout {era.checkout}",
        )


def _check_options(parts: _Parts, checkout: Checkout, era: BuiltEra, eras: Eras) -> None:
    """Refuse a checkout whose build.sh does not know the options; tell if an older era is its own."""
    fitting = [other.name for other in eras.fitting(checkout.options)]
    missing = [option for option in era.options if option not in checkout.options]
    if missing:
        instead = f", or ERA={fitting[0]}, which this checkout fits" if fitting else ""
        raise ImageError(
            f"DYNAMO: build.sh of {checkout.name} does not know {' and '.join(missing)}; era {era.name} is "
            f"Dynamo {era.releases}",
            remedy=f"git -C {checkout.folder} checkout {era.checkout}{instead}",
        )
    if fitting[0] != era.name:
        parts.notes.append(f"{checkout.name} is rather of era {fitting[0]}: ERA={fitting[0]}.")


def _nixl_flags(request: Request, era: BuiltEra) -> list[str]:
    flags = list(era.nixl_flags)
    if request.trtllm_commit is None:
        return flags
    if "--tensorrtllm-commit" not in flags:
        raise ImageError(
            f"TRTLLM_COMMIT: era {era.name} builds the TensorRT-LLM that its build.sh names ({era.source})",
            remedy="leave TRTLLM_COMMIT out",
        )
    flags[flags.index("--tensorrtllm-commit") + 1] = request.trtllm_commit
    return flags


def _prepare_cache(parts: _Parts, eras: Eras, around: Surroundings, asked: str) -> None:
    """Remove a cached wheel without NIXL, and no other; say what becomes of one with NIXL."""
    cache = around.cache
    match cache.nixl:
        case Nixl.NO_WHEEL:
            return
        case Nixl.YES:
            made = f", which we built with {' '.join(cache.stamp.flags)}" if cache.stamp else ""
            parts.notes.append(f"{cache.folder} is kept: {cache.nixl.value}{made}.")
            if asked and cache.commit not in ("", asked):
                parts.notes.append(
                    f"The cached wheel is {cache.commit}, and {asked} is asked for. build.sh of 0.6.x takes "
                    "it all the same if the cache holds it twice, as build.sh leaves it. To compile anew: "
                    f"rm -rf {shlex.quote(str(cache.folder))}"
                )
        case Nixl.NO | Nixl.UNKNOWN:
            _refuse_foreign(cache)
            why = f"{cache.nixl.value[0].upper()}{cache.nixl.value[1:]} ({eras.wheel_cache.source})."
            argv = ("rm", "-rf", str(cache.folder))
            parts.steps.append(Step("Remove the cached TensorRT-LLM wheel", argv, why))


def _refuse_foreign(cache: WheelCache) -> None:
    if cache.foreign:
        raise ImageError(
            f"WHEEL_DIR: {cache.nixl.value}, but {cache.folder} also holds what build.sh does not put there, "
            f"so it is not removed: {', '.join(cache.foreign)}",
            remedy="move that away, or name another folder with WHEEL_DIR",
        )


def _asked_wheel(flags: list[str], request: Request, around: Surroundings) -> str:
    """The wheel that build.sh will ask for, as its commit.txt names it; empty if that is not known."""
    if "--tensorrtllm-commit" in flags:
        commit = flags[flags.index("--tensorrtllm-commit") + 1]
    else:
        commit = around.checkout.default_commit if around.checkout else ""
    return f"{request.arch}_{commit}" if commit else ""


def _arguments(flags: list[str], request: Request) -> list[str]:
    """The page's own arguments, then what the person chose."""
    arguments = ["--framework", "trtllm", *flags]
    if request.arch is not Architecture.AMD64:
        arguments += ["--platform", f"linux/{request.arch}"]
    return [*arguments, "--tag", request.tag] if request.tag else arguments


def _build_step(title: str, why: str, arguments: list[str], around: Surroundings) -> Step:
    folder = around.checkout.folder if around.checkout else Path("dynamo")
    return Step(title, (f"./{SCRIPT}", *arguments), why, cwd=folder)


def _stamp_step(flags: list[str], request: Request, around: Surroundings) -> Step:
    folder = str(around.cache.folder)
    command = ["env", f"PYTHONPATH={FOLDER / 'src'}", sys.executable, "-m", "source_images", "stamp"]
    command += ["--wheel-dir", folder, "--era", request.era, "--arch", request.arch]
    command += ["--dynamo-version", around.checkout.description if around.checkout else ""]
    return Step(
        title="Check that the wheel has NIXL, and record its options",
        argv=(*command, "--", *flags),
        why=f"The record is {stamp_path(around.cache.folder)}.",
    )
