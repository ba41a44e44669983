"""NVIDIA's aiconfigurator: how it is asked, and what its answer says. Pure; `cli.size` runs it.

Read with its release 0.12.0: ``aiconfigurator cli default`` writes ``MODE/best_config_topn.csv`` for the
modes ``agg`` and ``disagg`` below the folder of ``--save-dir``.
"""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import replace

from disagg_operator.sizing.answer import Answer, Question, Uncertainty, enough, first_token, judged, notes
from disagg_operator.sizing.assumptions import FABRIC, TCP
from disagg_operator.sizing.errors import SizingError
from disagg_operator.sizing.fleet import Aggregated, Fleet, Role, moved
from disagg_operator.sizing.roofline import Memory

PROGRAM = "aiconfigurator"
TABLE = "best_config_topn.csv"
DISAGGREGATED, AGGREGATED = "disagg", "agg"
_WAITS = "it takes 1.8 times prefill for the first token, waiting included (autoscale_ttft_correction_factor)"

Row = Mapping[str, str]


def arguments(question: Question, model: str, system: str, folder: str) -> list[str]:
    """Return its command line.

    Args:
        question: what is asked.
        model: repository, or directory with ``config.json``.
        system: its name of the GPUs.
        folder: where it shall write.
    """
    load = question.load
    return [
        *(PROGRAM, "cli", "default", "--no-color", "--log-level", "WARNING", "--backend", "trtllm"),
        *("--model-path", model, "--system", system, "--target-request-rate", f"{load.rate:g}"),
        *("--isl", str(load.isl), "--osl", str(load.osl)),
        *("--ttft", f"{load.ttft * 1e3:g}", "--tpot", f"{load.itl * 1e3:g}", "--strict-sla"),
        *("--top-n", "1", "--save-dir", folder),
    ]


def best(table: str) -> Row | None:
    """Return the first row of one of its tables, or None where it is empty."""
    return next(csv.DictReader(io.StringIO(table)), None)


def answered(question: Question, disaggregated: Row, aggregated: Row | None, seen: str) -> Answer:
    """Return the answer that its tables give; transfer and memory are counted as everywhere here.

    Args:
        question: what was asked.
        disaggregated: its best fleet of prefill and decode.
        aggregated: its best of instances that do both; None where it found none.
        seen: version of the program.

    Raises:
        SizingError: a column is missing, so that this release is not known.
    """
    try:
        fleet = _fleet(question, disaggregated)
        both = _both(aggregated) if aggregated is not None else None
        version = disaggregated["(p)version"]
    except (KeyError, ValueError) as error:
        raise SizingError(
            f"--estimator aiconfigurator: {PROGRAM} {seen} writes other tables than 0.12.0, which is "
            f"known ({error}). "
            "Install aiconfigurator==0.12.0, or write --estimator roofline"
        ) from None
    verdict, why = judged(question, fleet, both)
    return Answer(
        question=question,
        method=(
            f"aiconfigurator {seen}: kernels measured with TensorRT-LLM {version}, put together by a model"
        ),
        fleet=fleet,
        both=both,
        over_tcp=moved(question.roofline, question.load, fleet.prefill, fleet.decode, TCP),
        enough=enough(question, fleet),
        verdict=verdict,
        why=why,
        uncertainty=_uncertain(question, fleet),
        notes=(*notes(question), _WAITS, "it takes no fabric into account: the transfer is added here"),
    )


def _uncertain(question: Question, fleet: Fleet) -> Uncertainty:
    """Return what the fabric's rate, of which it knows nothing, makes of its fleet."""
    rate, load = question.assumed.by_name[FABRIC], question.load

    def gpus(value: float) -> int | None:
        in_time = first_token(question, fleet, value) <= load.ttft and fleet.itl <= load.itl
        return fleet.gpus if in_time else None

    return Uncertainty(rate, gpus(rate.low), gpus(rate.high))


def _fleet(question: Question, row: Row) -> Fleet:
    load, roofline = question.load, question.roofline
    units = int(float(row.get("replicas_needed") or 1))
    prefill = _role(question, row, "(p)", units)
    running = load.rate / (units * int(row["(d)workers"])) * load.osl * float(row["tpot"]) / 1e3
    decode = replace(
        _role(question, row, "(d)", units),
        seconds=float(row["tpot"]) / 1e3,
        batch=int(row["(d)global_bs"]),
        running=running,
    )
    wait = max(0.0, float(row["ttft"]) / 1e3 - prefill.seconds)
    under_way = moved(roofline, load, prefill, decode, FABRIC)
    ttft = prefill.seconds + wait + under_way
    meets = ttft <= load.ttft and decode.seconds <= load.itl
    return Fleet(prefill, decode, wait, under_way, ttft, decode.seconds, meets)


def _role(question: Question, row: Row, mark: str, units: int) -> Role:
    gpus = math.prod(int(row[f"{mark}{part}"]) for part in ("tp", "pp", "dp"))
    replicas = units * int(row[f"{mark}workers"])
    each = 1 / float(row[f"{mark}seq/s/worker"])
    memory = question.roofline.memory(gpus, question.buffer_tokens) or _unknown(question)
    return Role(
        gpus=gpus,
        replicas=replicas,
        batch=int(row[f"{mark}global_bs"]),
        running=question.load.rate / replicas * each,
        seconds=each,
        memory=memory,
        pipeline=int(row[f"{mark}pp"]),
        expert=int(row[f"{mark}moe_ep"]),
        attention_dp=int(row[f"{mark}dp"]) > 1,
    )


def _unknown(question: Question) -> Memory:
    """Return a split for weights that it packs more densely than is known here: all is theirs."""
    total = question.assumed["gpu_memory"]
    return Memory(total, total, 0.0, 0.0, 0.0)


def _both(row: Row) -> Aggregated:
    gpus = int(row["num_total_gpus"])
    return Aggregated(
        gpus=gpus,
        replicas=int(float(row.get("replicas_needed") or 1)),
        batch=int(row["global_bs"]),
        chunk=int(float(row["ctx_tokens"])),
        ttft=float(row["ttft"]) / 1e3,
        itl=float(row["tpot"]) / 1e3,
    )
