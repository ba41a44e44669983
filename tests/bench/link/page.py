"""The tables and pictures of docs/kv-transfer.md, from figures that were measured. Pure."""

from collections.abc import Sequence

from bench.curves import lines
from bench.link.measuring import MIB, Figures
from bench.link.report import rate
from bench.link.side import HOST

RATES = ("ms", "by block", "ours", "one READ", "copy", "ours / copy", "ours / by block")


def tables(found: Figures) -> dict[str, str]:
    """Give each part's table in Markdown."""
    made = {
        "models": _markdown(
            ("model", "tokens", "MB", *RATES),
            [(row["model"], str(row["tokens"]), _megabytes(row), *_rates(row)) for row in found["models"]],
        ),
        "changes": _markdown(
            ("from, to", "tokens", "MB", *RATES),
            [(row["change"], str(row["tokens"]), _megabytes(row), *_rates(row)) for row in found["changes"]],
        ),
        "break-even": _markdown(
            ("MiB", "piece, KiB", "through staging, ms", "as they are, ms"),
            [
                (str(row["bytes"] // MIB), str(row["piece"] >> 10), _ms(row["staged"]), _ms(row["direct"]))
                for row in found["break-even"]
            ],
        ),
        "staging": _markdown(
            ("slots", "MiB each", "GB/s"),
            [
                (str(row["slots"]), f"{row['slot_bytes'] / MIB:g}", f"{rate(row):.0f}")
                for row in found["staging"]
            ],
        ),
        "layerwise": _markdown(
            ("us a layer", "all there after the last layer, ms", "one READ of all, ms"),
            [
                (f"{row['layer_seconds'] * 1e6:.0f}", _ms(row["tail_seconds"]), _ms(row["one_piece"]))
                for row in found["layerwise"]
            ],
        ),
    }
    if "decode" in found:
        alone = found["decode"][0]["steps_per_second"]
        made["decode"] = _markdown(
            ("prompts/s", "limit, GB/s", "KV cache, GB/s", "decode steps/s", "of those without"),
            [("as many as can" if row["rate"] is None else str(row["rate"]),
              f"{row['most'] / 1e9:.0f}" if row["most"] else "",
              f"{row['prompts'] / row['seconds'] * row['bytes'] / 1e9:.1f}", f"{row['steps_per_second']:.0f}",
              f"{row['steps_per_second'] / alone:.3f}") for row in found["decode"]],
        )  # fmt: skip
    if "settings" in found:
        made["settings"] = _markdown(
            ("setting", "ours", "one READ", "by block"),
            [
                (row["setting"], *(f"{rate(row, of):.1f}" for of in ("seconds", "one_piece", "by_block")))
                if "failed" not in row
                else (row["setting"], "does not work", "", "")
                for row in found["settings"]
            ],
        )
    return made


def pictures(found: Figures) -> dict[str, str]:
    """Give each picture's SVG by its name."""
    rows = found["models"]
    names = list(dict.fromkeys(row["model"] for row in rows))
    shares = {
        name: [(row["tokens"], row["copy"] / row["seconds"]) for row in rows if row["model"] == name]
        for name in names
    }
    first = [row for row in rows if row["model"] == names[0]]
    rates = {
        words: [(row["tokens"], rate(row, of)) for row in first if row.get(of)]
        for words, of in (
            ("through staging", "seconds"),
            ("copy engine", "copy"),
            ("one NIXL READ", "one_piece"),
            ("NIXL, by block", "by_block"),
        )
    }
    return {
        "kv-share": lines("Rate as a share of the copy engine's", "tokens", "", shares),
        "kv-rates": lines(f"GB/s, {names[0]}", "tokens", "GB/s", rates, logarithmic=True),
    }


def updated(text: str, found: Figures) -> str:
    """Replace the tables between the marks of a page; those of host memory have marks of their own."""
    place = "host " if found["device"] == HOST else ""
    for part, table in tables(found).items():
        before, mark, rest = text.partition(f"<!-- figures: {place}{part} -->\n")
        if mark:
            _, end, after = rest.partition("<!-- end -->")
            text = f"{before}{mark}\n{table}\n{end}{after}"
    return text


def _rates(row: Figures) -> tuple[str, ...]:
    ours, copy, block = rate(row), rate(row, "copy"), rate(row, "by_block")
    return (
        _ms(row["seconds"]),
        _short(block) if block else "",
        _short(ours),
        _short(rate(row, "one_piece")),
        _short(copy),
        f"{ours / copy:.2f}",
        _short(ours / block) if block else "",
    )


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}"


def _megabytes(row: Figures) -> str:
    return f"{row['bytes'] / 1e6:.0f}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}"


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines_ = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines_) + "\n"
