"""The engines that this version of the operator runs."""

from collections.abc import Callable
from dataclasses import dataclass

from disagg_operator.plan.engines import reference, trtllm
from disagg_operator.plan.engines.engine import Asked, EngineWorker


@dataclass(frozen=True)
class Engine:
    """An engine.

    Attributes:
        on_gpu: whether its ranks need a GPU each.
        worker: says how it runs the workers of a role.
    """

    on_gpu: bool
    worker: Callable[[Asked], EngineWorker]


ENGINES = {
    "reference": Engine(on_gpu=False, worker=reference.worker),
    "trtllm": Engine(on_gpu=True, worker=trtllm.worker),
}
