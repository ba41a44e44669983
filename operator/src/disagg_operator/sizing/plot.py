"""Time to the first token against the rate of the fabric: as SVG, and as bars for terminals. Pure."""

import math
from collections.abc import Iterator, Sequence
from html import escape

from disagg_operator.sizing.answer import Answer, first_token
from disagg_operator.sizing.assumptions import FABRIC, TCP
from disagg_operator.sizing.words import duration, two

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 400, 70, 30, 56, 56
_INK, _BLUE, _GREEN, _GREY, _RED = "#333333", "#1f77b4", "#2ca02c", "#999999", "#d62728"
_BAR = 32
"""Characters of the longest bar."""
_POINTS = 160
_RATES = (0.1, 1.0, 10.0, 100.0)


def svg(answer: Answer) -> str:
    """Draw the fleet's time to the first token over the rate of the fabric, both logarithmic."""
    load, assumed = answer.question.load, answer.question.assumed.by_name
    low, high = min(0.05, assumed[FABRIC].low / 2), max(200.0, assumed[FABRIC].high * 2)
    rates = [low * (high / low) ** (step / _POINTS) for step in range(_POINTS + 1)]
    curve = [(rate, first_token(answer.question, answer.fleet, rate)) for rate in rates]
    shown = [(rate, seconds) for rate, seconds in curve if math.isfinite(seconds)]
    times = [seconds for _, seconds in shown] + [load.ttft]
    bottom, top = min(times) / 1.5, max(times) * 1.5

    def x(rate: float) -> float:
        return _LEFT + math.log(rate / low) / math.log(high / low) * (_WIDTH - _LEFT - _RIGHT)

    def y(seconds: float) -> float:
        part = math.log(seconds / bottom) / math.log(top / bottom)
        return _HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM)

    question = answer.question
    what = f"first token at {load.rate:g} requests/s, {load.isl} tokens"
    title = f"{question.shape.name} on {question.platform}: {what}"
    parts = [_text(_WIDTH / 2, 24, title, anchor="middle", weight="bold")]
    parts += [_text(_WIDTH / 2, _HEIGHT - 12, "what the fabric moves for each GPU, GB/s", anchor="middle")]
    for rate in _ticks(low, high):
        parts += [_line(x(rate), _TOP, x(rate), _HEIGHT - _BOTTOM, "#eeeeee")]
        parts += [_text(x(rate), _HEIGHT - _BOTTOM + 18, f"{rate:g}", anchor="middle")]
    for seconds in _ticks(bottom, top, (1, 2, 5)):
        parts += [_line(_LEFT, y(seconds), _WIDTH - _RIGHT, y(seconds), "#eeeeee")]
        parts += [_text(_LEFT - 8, y(seconds) + 4, duration(seconds), anchor="end")]
    parts += [_line(_LEFT, y(load.ttft), _WIDTH - _RIGHT, y(load.ttft), _RED, dash="6 4")]
    parts += [
        _text(_WIDTH - _RIGHT, y(load.ttft) - 6, f"target {duration(load.ttft)}", anchor="end", colour=_RED)
    ]
    if len(shown) < len(curve):
        edge = shown[0][0] if shown else high
        parts.append(
            f'<rect x="{_LEFT}" y="{_TOP}" width="{x(edge) - _LEFT:.1f}" height="{_HEIGHT - _TOP - _BOTTOM}" '
            'fill="#d62728" fill-opacity="0.07"/>'
        )
        parts += [_text(_LEFT + 6, _HEIGHT - _BOTTOM - 8, "less than the load", colour=_RED)]
    marks = [
        (assumed[TCP].value, f"TCP {assumed[TCP].value:g} a pod", _GREY),
        (assumed[FABRIC].value, f"{question.fabric} {assumed[FABRIC].value:g}", _BLUE),
    ]
    if answer.enough is not None and low < answer.enough / 1e9 < high:
        marks.append((answer.enough / 1e9, f"enough from {two(answer.enough / 1e9)} on", _GREEN))
    for number, (rate, words, colour) in enumerate(marks):
        if low < rate < high:
            parts += [_line(x(rate), _TOP, x(rate), _HEIGHT - _BOTTOM, colour, dash="2 3")]
            parts += [_text(x(rate) + 4, _TOP + 12 + 15 * number, words, colour=colour)]
    points = " ".join(f"{x(rate):.1f},{y(seconds):.1f}" for rate, seconds in shown)
    parts.append(f'<polyline points="{points}" fill="none" stroke="{_BLUE}" stroke-width="2.5"/>')
    prefill, decode = answer.fleet.prefill, answer.fleet.decode
    fleet = f"prefill {prefill.replicas} x {prefill.gpus} GPUs, decode {decode.replicas} x {decode.gpus}"
    estimate = f"{fleet}: an estimate ({answer.method.partition(':')[0]})"
    parts += [_text(_WIDTH / 2, 42, estimate, anchor="middle", colour=_GREY)]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def bars(answer: Answer) -> Sequence[tuple[str, str, str]]:
    """Return the same for a few rates: what the rate is, a bar, and the time to the first token."""
    assumed = answer.question.assumed.by_name
    named = {assumed[FABRIC].value: f" {answer.question.fabric}"}
    times = {rate: first_token(answer.question, answer.fleet, rate) for rate in sorted({*_RATES, *named})}
    target = answer.question.load.ttft
    longest = max([target, *(seconds for seconds in times.values() if math.isfinite(seconds))])
    return [
        (f"{rate:g} GB/s{named.get(rate, '')}", *_bar(seconds, longest, target))
        for rate, seconds in times.items()
    ]


def _bar(seconds: float, longest: float, target: float) -> tuple[str, str]:
    if math.isinf(seconds):
        return "░" * _BAR, "cannot carry the load"
    length = max(1, round(seconds / longest * _BAR))
    return "█" * length, duration(seconds) + ("" if seconds <= target else ", too late")


def _ticks(low: float, high: float, steps: Sequence[int] = (1,)) -> Iterator[float]:
    """Yield the numbers of an axis: some steps of each power of ten."""
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (step * 10.0**power for step in steps if low <= step * 10.0**power <= high)


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal", colour: str = _INK
) -> str:
    style = f'text-anchor="{anchor}" font-weight="{weight}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashes}/>'
