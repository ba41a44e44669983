"""Evidence of how KV cache moved → a verdict. Pure: no clock, no network, no Kubernetes client.

The way through it: `evidence` (what agents tell) → `counters` (what moved between three looks) → `paths`
(what moved from prefill to decode, by what counted it) → `choice` (what carried it) → `judge`, with `logs`
as the second witness and `kv` for the number of bytes that had to move.
"""
