"""The engines that this version of the operator runs."""

from collections.abc import Callable
from dataclasses import dataclass

from disagg_operator.plan.engines import reference, trtllm
from disagg_operator.plan.engines.by_arguments import Dialect
from disagg_operator.plan.engines.engine import Asked, EngineWorker
from disagg_operator.plan.engines.mocker import MOCKER
from disagg_operator.plan.engines.sglang import SGLANG
from disagg_operator.plan.engines.vllm import VLLM


@dataclass(frozen=True)
class Engine:
    """An engine.

    Attributes:
        on_gpu: whether its ranks need a GPU each.
        worker: says how it runs the workers of a role.
        dialect: how it spells its arguments, where they are its whole configuration.
    """

    on_gpu: bool
    worker: Callable[[Asked], EngineWorker]
    dialect: Dialect | None = None


ENGINES = {
    "reference": Engine(on_gpu=False, worker=reference.worker),
    "trtllm": Engine(on_gpu=True, worker=trtllm.worker),
    "vllm": Engine(on_gpu=True, worker=VLLM.worker, dialect=VLLM),
    "sglang": Engine(on_gpu=True, worker=SGLANG.worker, dialect=SGLANG),
    "mocker": Engine(on_gpu=False, worker=MOCKER.worker, dialect=MOCKER),
}
