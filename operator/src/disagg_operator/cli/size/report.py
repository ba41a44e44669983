"""Shows an answer: to people as tables, to programs as one document. An estimate has two digits."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from disagg_operator.cli.terminal import show
from disagg_operator.sizing import kv, transfer
from disagg_operator.sizing.answer import Answer, Verdict
from disagg_operator.sizing.assumptions import FABRIC, TCP
from disagg_operator.sizing.bars import bars
from disagg_operator.sizing.fleet import Role
from disagg_operator.sizing.kv import KvType
from disagg_operator.sizing.words import duration, two

_STYLES = dict.fromkeys(Verdict, "yellow") | {Verdict.PAYS: "green", Verdict.MISSES: "red"}
_DIGITS = 3


def print_answer(answer: Answer) -> None:
    """Print an answer for people: tables with frames in a terminal, plain lines in a pipe."""
    question, load, out = answer.question, answer.question.load, Console(soft_wrap=True, highlight=False)
    out.print(
        Text(
            f"{question.shape.name} on {question.platform}: {load.rate:g} requests/s of {load.isl} + "
            f"{load.osl} tokens, "
            f"first token within {duration(load.ttft)}, each next within {duration(load.itl)}",
            style="bold",
        )
    )
    verdict = (
        Text("Disaggregation ")
        .append(answer.verdict, style=f"bold {_STYLES[answer.verdict]}")
        .append(f": {answer.why}.")
    )
    out.print(verdict)
    prefill, decode = answer.fleet.prefill, answer.fleet.decode
    instances = f"{prefill.replicas}:{decode.replicas} instances"
    gpus = f"{prefill.gpus * prefill.replicas}:{decode.gpus * decode.replicas} GPUs"
    out.print(Text(f"Prefill to decode: {instances}, {gpus}."))
    out.print(Text(_whole_nodes(answer)))
    out.print(Text(f"An estimate by {answer.method}."))
    out.print(Text(_sure(answer)))
    out.print()
    show(("Role", "Replicas", "GPUs each", "Nodes each", "GPUs", "Time", "Sequences each"), _fleet(answer))
    out.print()
    show(("KV cache", "Estimate", "How"), _cache(answer))
    out.print()
    show(("Memory of a GPU, GB", "Prefill", "Decode"), _memory(answer))
    out.print()
    show(("First token of this fleet, fabric at", "", ""), bars(answer))
    out.print()
    show(("Assumed", "Value", "Range", "What", "Source"), _assumed(answer))
    for note in answer.notes:
        out.print(Text(f"Note: {note}."))


def document(answer: Answer) -> dict[str, Any]:
    """Return an answer for programs. Times are in seconds, sizes in bytes; null for what never ends."""
    question, fleet = answer.question, answer.fleet
    uncertainty = answer.uncertainty
    found: dict[str, Any] = {
        "estimate": True,
        "method": answer.method,
        "verdict": answer.verdict,
        "why": answer.why,
        "model": {
            "name": question.shape.name,
            "parameters": question.shape.parameters,
            "weights": question.shape.weights,
            "weightBytes": question.shape.weight_bytes,
        },
        "load": asdict(question.load),
        "kv": {
            "bytesPerToken": question.token_bytes,
            "bytesPerPrompt": question.token_bytes * question.load.isl,
            "bytesPerRequest": question.token_bytes * (question.load.isl + question.load.osl),
            "maxTokensInBuffer": question.buffer_tokens,
        },
        "transfer": {
            "fabric": question.fabric,
            "nixlBackend": question.backend,
            "seconds": fleet.transfer,
            "overTcpSeconds": answer.over_tcp,
            "enoughBytesPerSecond": answer.enough,
        },
        "prefill": _role(fleet.prefill),
        "decode": _role(fleet.decode),
        "ratio": fleet.prefill.replicas / fleet.decode.replicas,
        "gpus": fleet.gpus,
        "nodes": question.nodes(fleet),
        "ttft": fleet.ttft,
        "itl": fleet.itl,
        "aggregated": {
            **asdict(answer.both),
            "total": answer.both.total,
            "nodes": question.nodes_of_both(answer.both),
        }
        if answer.both
        else None,
        "uncertainty": {
            "assumption": uncertainty.assumption.name,
            "gpusAtLow": uncertainty.at_low,
            "gpusAtHigh": uncertainty.at_high,
        }
        if uncertainty
        else None,
        "assumptions": [asdict(each) for each in question.assumed],
        "notes": list(answer.notes),
    }
    rounded: dict[str, Any] = _rounded(found)
    return rounded


def _whole_nodes(answer: Answer) -> str:
    """Return the nodes that the fleet takes and what of them is left over, in a sentence."""
    question, fleet = answer.question, answer.fleet
    nodes, per_node = question.nodes(fleet), question.per_node
    left = nodes * per_node - fleet.gpus
    spare = f"{left} of them idle unless other pods use them" if left else "none of them idle"
    apart = "; no node may have both prefill and decode" if question.sharing.apart else ""
    return f"Whole nodes: {nodes} of {per_node} GPUs, together {nodes * per_node} GPUs, {spare}{apart}."


def _sure(answer: Answer) -> str:
    """Return what is most uncertain, in a sentence."""
    most = answer.uncertainty
    if most is None:
        return "No assumption changes this within its range."
    each = most.assumption

    def at(gpus: int | None) -> str:
        return "targets missed" if gpus is None else f"{gpus} GPUs"

    here = at(answer.fleet.gpus if answer.fleet.meets else None)
    return (
        f"Most uncertain: {each.name} ({each.reason}). At {each.low:g} {each.unit}: {at(most.at_low)}; "
        f"at {each.high:g}: {at(most.at_high)}; here, at {each.value:g}: {here}."
    )


def _fleet(answer: Answer) -> Iterator[tuple[str, ...]]:
    fleet, per_node = answer.fleet, answer.question.per_node

    def row(name: str, gpus: int, replicas: int, time: str, batch: str) -> tuple[str, ...]:
        nodes = math.ceil(gpus / per_node)
        return name, str(replicas), str(gpus), str(nodes), str(gpus * replicas), time, batch

    prefill, decode = fleet.prefill, fleet.decode
    parts = {"wait": fleet.wait, "prefill": prefill.seconds, "transfer": fleet.transfer}
    spent = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items())
    yield row("prefill", prefill.gpus, prefill.replicas, f"first token {duration(fleet.ttft)}: {spent}", "1")
    told = f"{two(decode.running)}, at most {decode.batch}"
    yield row("decode", decode.gpus, decode.replicas, f"token {duration(decode.seconds)}", told)
    both = answer.both
    if both is None:
        yield "aggregated instead", "-", "-", "-", "-", "misses the targets", "-"
    else:
        times = f"first token {duration(both.ttft)}, token {duration(both.itl)}"
        yield row(
            "aggregated instead", both.gpus, both.replicas, times, f"{both.batch}, chunks of {both.chunk}"
        )


def _cache(answer: Answer) -> Iterator[tuple[str, str, str]]:
    question, fleet = answer.question, answer.fleet
    shape, load, assumed = question.shape, question.load, question.assumed
    kind = question.kv_type if question.kv_type is not KvType.AUTO else str(shape.geometry.dtype)
    geometry = shape.geometry
    how = (
        f"{shape.layers} layers x ({geometry.kv_lora_rank} + {geometry.rope_head_dim}), {kind}"
        if shape.latent
        else f"2 x {shape.layers} layers x {geometry.kv_heads} KV heads x {geometry.head_dim}, {kind}"
    )
    prompt = question.token_bytes * load.isl
    streams = kv.streams(shape, fleet.prefill.gpus, fleet.decode.gpus)
    alone = transfer.seconds(prompt, assumed[FABRIC], streams)
    slow = transfer.seconds(prompt, assumed[TCP])
    rate, tcp = assumed.by_name[FABRIC], assumed.by_name[TCP]
    yield "a token", f"{question.token_bytes / 1e3:.6g} kB", how
    yield (
        "a prompt",
        f"{prompt / 1e9:.3g} GB",
        f"{load.isl} tokens; {question.token_bytes * (load.isl + load.osl) / 1e9:.3g} GB with the answer",
    )
    yield "all prompts", f"{two(prompt * load.rate / 1e9)} GB/s", f"{load.rate:g} requests/s"
    yield (
        f"transfer over {question.fabric}",
        duration(alone),
        f"{question.backend}, {rate.value:g} GB/s a GPU, {streams} in parallel; "
        f"{duration(fleet.transfer)} at this load",
    )
    loaded = (
        "less than this load between these instances"
        if math.isinf(answer.over_tcp)
        else f"{duration(answer.over_tcp)} at this load"
    )
    yield "over TCP instead", duration(slow), f"{tcp.value:g} GB/s a pod; {loaded}"
    if answer.enough is not None:
        yield (
            "the fabric must move",
            f"{two(answer.enough / 1e9)} GB/s a GPU",
            f"for a first token of this fleet within {duration(load.ttft)}",
        )
    yield (
        "max_tokens_in_buffer",
        str(question.buffer_tokens),
        "the longest request and a margin, in whole blocks",
    )
    yield (
        "longest request",
        f"{load.longest} tokens",
        f"a prompt of --max-isl {load.longest - load.osl} with its answer; longer ones are refused",
    )


def _memory(answer: Answer) -> Iterator[tuple[str, str, str]]:
    prefill, decode = answer.fleet.prefill.memory, answer.fleet.decode.memory
    for name in ("weights", "cache", "buffer", "reserved", "free", "total"):
        label = {
            "cache": "KV cache",
            "buffer": "transfer buffer",
            "reserved": "CUDA, graphs, activations",
        }.get(name, name)
        yield label, two(getattr(prefill, name) / 1e9), two(getattr(decode, name) / 1e9)


def _assumed(answer: Answer) -> Iterator[tuple[str, ...]]:
    for each in answer.question.assumed:
        span = f"{each.low:g} to {each.high:g}" if each.low != each.high else ""
        yield each.name, f"{each.value:g} {each.unit}".strip(), span, each.reason, each.source


def _role(role: Role) -> dict[str, Any]:
    return {
        "replicas": role.replicas,
        "gpus": role.gpus,
        "maxBatch": role.batch,
        "running": role.running,
        "seconds": role.seconds,
        "gpuMemoryBytes": {**asdict(role.memory), "free": role.memory.free},
    }


def _rounded(value: Any) -> Any:
    """Return a document whose fractions have three digits, and whose infinities are null."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    if not isinstance(value, float):
        return value
    if math.isinf(value):
        return None
    return int(value) if value.is_integer() else float(f"{value:.{_DIGITS}g}")
