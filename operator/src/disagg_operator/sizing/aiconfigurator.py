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

Row = Mapping[str, str | None]
"""Cells by column; None for those that a row is too short for."""


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
        SizingError: a column is missing or holds no number above 0, so that this release is not known.
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
    units = _units(row)
    prefill, decode = _role(question, row, "(p)", units), _role(question, row, "(d)", units)
    token = _figure(row, "tpot") / 1e3
    decode = replace(decode, seconds=token, running=load.rate / decode.replicas * load.osl * token)
    wait = max(0.0, _figure(row, "ttft") / 1e3 - prefill.seconds)
    under_way = moved(roofline, load, prefill, decode, FABRIC)
    ttft = prefill.seconds + wait + under_way
    meets = ttft <= load.ttft and decode.seconds <= load.itl
    return Fleet(prefill, decode, wait, under_way, ttft, decode.seconds, meets)


def _role(question: Question, row: Row, mark: str, units: int) -> Role:
    gpus = math.prod(_count(row, f"{mark}{part}") for part in ("tp", "pp", "dp"))
    replicas = units * _count(row, f"{mark}workers")
    each = 1 / _figure(row, f"{mark}seq/s/worker")
    memory = question.roofline.memory(gpus, question.buffer_tokens) or _unknown(question)
    return Role(
        gpus=gpus,
        replicas=replicas,
        batch=_count(row, f"{mark}global_bs"),
        running=question.load.rate / replicas * each,
        seconds=each,
        memory=memory,
        pipeline=_count(row, f"{mark}pp"),
        expert=_count(row, f"{mark}moe_ep"),
        attention_dp=_count(row, f"{mark}dp") > 1,
    )


def _unknown(question: Question) -> Memory:
    """Return a split for weights that it packs more densely than is known here: all is theirs."""
    total = question.assumed["gpu_memory"]
    return Memory(total, total, 0.0, 0.0, 0.0)


def _both(row: Row) -> Aggregated:
    return Aggregated(
        gpus=_count(row, "num_total_gpus"),
        replicas=_units(row),
        batch=_count(row, "global_bs"),
        chunk=int(_figure(row, "ctx_tokens")),
        ttft=_figure(row, "ttft") / 1e3,
        itl=_figure(row, "tpot") / 1e3,
    )


def _units(row: Row) -> int:
    """Return how many of the fleet in a row the load needs."""
    return _count(row, "replicas_needed") if "replicas_needed" in row else 1


def _count(row: Row, column: str) -> int:
    found = _figure(row, column)
    if not found.is_integer():
        raise ValueError(f"{column} is {row[column]!r}")
    return int(found)


def _figure(row: Row, column: str) -> float:
    """Return the number above 0 that a column holds.

    Raises:
        KeyError: there is no such column.
        ValueError: it holds something else, or the row ends before it.
    """
    value = float(row[column] or 0)
    if not 0 < value < math.inf:
        raise ValueError(f"{column} is {row[column]!r}")
    return value
