"""Dynamo's mocker: it answers like an engine, in an engine's time, and computes and moves nothing.

For tests of what is around an engine: routing, scaling, rollouts, at the price of no GPU and no model.
"""

from disagg_operator.plan.engines.by_arguments import WIRING, Dialect

MOCKER = Dialect(
    name="mocker",
    sizes={},
    owned={
        "model-path": "spec.model.source",
        "model-name": "spec.model.name",
        "disaggregation-mode": "the role",
        "is-prefill-worker": "the role",
        "is-decode-worker": "the role",
        "num-workers": "spec.*.replicas",
        **WIRING,
    },
)
