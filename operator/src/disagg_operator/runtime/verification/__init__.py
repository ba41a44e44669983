"""Measures how KV cache moves: asks agents, sends canaries, reads logs, and has `verify` judge.

The way through it: `verifier` (who is measured when) → `measurement` (one of them) → `agents`, `canary` and
`pod_logs` (the three witnesses).
"""
