"""Time to the first token against the rate of the fabric, as SVG."""

import math

from disagg_operator.cli.drawing import COLOURS, GREY, drawn
from disagg_operator.sizing.answer import Answer, first_token
from disagg_operator.sizing.assumptions import FABRIC, TCP
from disagg_operator.sizing.words import duration, two

_BLUE, _GREEN, _RED = COLOURS[0], COLOURS[2], COLOURS[3]
_POINTS = 160


def svg(answer: Answer) -> str:
    """Draw the fleet's time to the first token over the rate of the fabric, both logarithmic."""
    question = answer.question
    load, assumed = question.load, question.assumed.by_name
    low, high = min(0.05, assumed[FABRIC].low / 2), max(200.0, assumed[FABRIC].high * 2)
    rates = [low * (high / low) ** (step / _POINTS) for step in range(_POINTS + 1)]
    times = [first_token(question, answer.fleet, rate) for rate in rates]
    shown = [rate for rate, seconds in zip(rates, times, strict=True) if math.isfinite(seconds)]
    marks = [
        (assumed[TCP].value, f"TCP {assumed[TCP].value:g} a pod", GREY),
        (assumed[FABRIC].value, f"{question.fabric} {assumed[FABRIC].value:g}", _BLUE),
    ]
    if answer.enough is not None:
        marks.append((answer.enough / 1e9, f"enough from {two(answer.enough / 1e9)} on", _GREEN))
    prefill, decode = answer.fleet.prefill, answer.fleet.decode
    fleet = f"prefill {prefill.replicas} x {prefill.gpus} GPUs, decode {decode.replicas} x {decode.gpus}"
    with drawn(7.5, 4.2) as picture:
        (axes,) = picture.axes
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(low, high)
        axes.grid(visible=True)
        axes.plot(rates, times, color=_BLUE, linewidth=2)
        axes.axhline(load.ttft, color=_RED, linestyle="--", linewidth=1)
        beside = axes.get_yaxis_transform()
        axes.text(
            1,
            load.ttft,
            f"target {duration(load.ttft)}",
            color=_RED,
            transform=beside,
            ha="right",
            va="bottom",
        )
        below = axes.get_xaxis_transform()
        if len(shown) < len(rates):
            axes.axvspan(low, shown[0] if shown else high, color=_RED, alpha=0.07, linewidth=0)
            axes.text(low * 1.1, 0.02, "less than the load", color=_RED, transform=below)
        for number, (rate, words, colour) in enumerate(marks):
            if low < rate < high:
                axes.axvline(rate, color=colour, linestyle=":", linewidth=1)
                axes.text(rate * 1.05, 0.95 - 0.06 * number, words, color=colour, transform=below)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter(lambda seconds, _: duration(seconds))
        axes.yaxis.set_minor_formatter(lambda seconds, _: duration(seconds))
        axes.set_xlabel("what the fabric moves for each GPU, GB/s")
        axes.set_ylabel("time to the first token")
        what = f"first token at {load.rate:g} requests/s, {load.isl} tokens"
        estimate = f"{fleet}: an estimate ({answer.method.partition(':')[0]})"
        axes.set_title(f"{question.shape.name} on {question.platform}: {what}\n{estimate}", fontsize=9)
        return picture.svg()
