"""KV cache of real layouts between two GPUs of one host, or two processes: `make bench-kv`.

With two NVIDIA GPUs (and torch) it measures between them; without, in host memory between two processes. The
figures of docs/kv-transfer.md come from here: `--out FILE` writes them, `--page` puts them into that page,
and `--figures FILE` takes them from a file instead of measuring.
"""

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.link import measuring
from bench.link.measuring import MIB, Figures, Machine, Pair
from bench.link.page import pictures, updated
from bench.link.report import show
from bench.link.side import HOST

PAGE = Path(__file__).parents[2] / "docs" / "kv-transfer.md"
PARTS = ("models", "changes", "break-even", "staging", "layerwise", "breakdown", "decode", "settings")


def gpus() -> int:
    """How many GPUs PyTorch can use; 0 without it."""
    try:
        import torch  # noqa: PLC0415 - an extra
    except ImportError:
        return 0
    return int(torch.cuda.device_count())


def measure(machine: Machine, parts: list[str], progress: Callable[[str], None]) -> Figures:
    """Measure some parts."""
    on_gpus = machine is measuring.GPUS
    middle = 4096 if on_gpus else 512
    of_pair: dict[str, Callable[[Pair], list[Figures]]] = {
        "models": lambda it: measuring.models(it, progress),
        "changes": lambda it: measuring.changes(it, progress),
        "break-even": lambda it: measuring.break_even(
            it, progress, (64 * MIB, 512 * MIB) if on_gpus else (64 * MIB,),
            [size << 10 for size in (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)[2 if on_gpus else 0 :]],
        ),
        "staging": lambda it: measuring.staging_sizes(
            it, progress, middle,
            [(size * MIB, slots) for size in ((16, 32, 64, 128) if on_gpus else (1, 2, 4))
             for slots in (2, 3, 4)],
        ),
        "layerwise": lambda it: measuring.layerwise(it, progress, middle, (20e-6, 100e-6, 1e-3)),
        "breakdown": lambda it: measuring.breakdown(it, progress, it.machine.lengths[:3]),
        "decode": lambda it: measuring.beside_decode(
            it, progress, middle,
            [(0, None), (2, None), (10, None), (50, None), (200, None), (None, None),
             *((None, gigabytes * 1e9) for gigabytes in (20, 40, 80, 120)), (0, None)],
        ),
    }  # fmt: skip
    found: Figures = {"machine": platform.machine(), "python": platform.python_version()}
    if of_pair.keys() & set(parts):
        with measuring.pair(machine, machine.memory, {}, {}) as it:
            found["device"] = it.device
            for part, call in of_pair.items():
                if part in parts and (on_gpus or part != "decode"):
                    found[part] = call(it)
    if "settings" in parts and on_gpus:
        found["settings"] = measuring.settings(machine, progress, middle)
    return found


def main(
    part: Annotated[
        list[str] | None, typer.Option(help=f"Some of {', '.join(PARTS)}; all if left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the figures, as JSON.")] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Measure in host memory in any case.")] = False,
    figures: Annotated[Path | None, typer.Option(help="Take the figures from this file.")] = None,
    page: Annotated[bool, typer.Option("--page", help="Put the figures into docs/kv-transfer.md.")] = False,
) -> None:
    """Measure, and print tables."""
    unknown = set(part or ()) - set(PARTS)
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}; write some of {', '.join(PARTS)}", param_hint="part"
        )
    machine = measuring.GPUS if not cpu and gpus() > 1 else measuring.CPU
    console = Console(stderr=True)
    if figures:
        found = json.loads(figures.read_text(encoding="utf-8"))
    else:
        found = measure(machine, part or list(PARTS), lambda line: console.print(line, style="dim"))
    if page:
        PAGE.write_text(updated(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
        for name, picture in pictures(found).items() if found["device"] != HOST else ():
            (PAGE.parent / "images" / f"{name}.svg").write_text(picture, encoding="utf-8")
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    show(found, Console())


if __name__ == "__main__":
    typer.run(main)
