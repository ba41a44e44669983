"""The reference engine: continuous batching over a paged KV cache."""

from disagg_worker.engine.engine import Engine
from disagg_worker.engine.types import (
    EngineError,
    EngineOverloaded,
    EngineStats,
    EngineStopped,
    FinishReason,
    Prefilled,
    RequestCancelled,
    RequestRefused,
    SamplingParams,
    TokenOutput,
)

__all__ = [
    "Engine",
    "EngineError",
    "EngineOverloaded",
    "EngineStats",
    "EngineStopped",
    "FinishReason",
    "Prefilled",
    "RequestCancelled",
    "RequestRefused",
    "SamplingParams",
    "TokenOutput",
]
