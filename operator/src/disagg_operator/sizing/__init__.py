"""Sizing: how much prefill, decode, memory and fabric a model's requests need, from arithmetic alone. Pure.

    config.json ──► model ──► kv, roofline, transfer ──► fleet ──► answer ──► resource, plot
    platform ────► assumptions ───────┘

Every number that is not arithmetic is an `Assumption` with a source and a range.
`answer.answered` is the way in.
"""
