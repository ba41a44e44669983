"""Dynamo's preprocessed request as the engine's parameters. Pure.

What the engine cannot do is refused by name: a penalty that is silently ignored gives answers that nobody
can explain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from disagg_worker.engine import RequestRefused, SamplingParams

_UNSUPPORTED: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("n", (None, 1)),
    ("best_of", (None, 1)),
    ("frequency_penalty", (None, 0)),
    ("presence_penalty", (None, 0)),
    ("repetition_penalty", (None, 1)),
    ("min_p", (None, 0)),
    ("length_penalty", (None, 1)),
    ("use_beam_search", (None, False)),
    ("guided_decoding", (None, {})),
)


@dataclass(frozen=True)
class Generation:
    """What to generate.

    Attributes:
        tokens: Token ids of the prompt.
        sampling: How to choose tokens and when to end.
    """

    tokens: tuple[int, ...]
    sampling: SamplingParams


def parse_request(request: Mapping[str, Any], max_sequence_tokens: int) -> Generation:
    """Translate a request of Dynamo's frontend.

    Args:
        request: The preprocessed request: token_ids, stop_conditions, sampling_options, output_options.
        max_sequence_tokens: Prompt and answer together; bounds an answer whose length the client left open.

    Raises:
        RequestRefused: An option is out of range or not supported.
    """
    options = request.get("sampling_options") or {}
    stop = request.get("stop_conditions") or {}
    _require_supported(options, request.get("output_options") or {})
    tokens = tuple(request.get("token_ids") or ())
    stop_ids = (*(stop.get("stop_token_ids") or ()), *(stop.get("stop_token_ids_hidden") or ()))
    ignore_eos = bool(stop.get("ignore_eos"))
    eos = frozenset(request.get("eos_token_ids") or ())
    sampling = SamplingParams(
        max_tokens=_or(stop.get("max_tokens"), max(1, max_sequence_tokens - len(tokens))),
        temperature=float(_or(options.get("temperature"), 0.0)),
        top_p=float(_or(options.get("top_p"), 1.0)),
        top_k=max(0, int(_or(options.get("top_k"), 0))),
        seed=options.get("seed"),
        stop_token_ids=frozenset(stop_ids) - eos if ignore_eos else frozenset(stop_ids),
        min_tokens=int(_or(stop.get("min_tokens"), 0)),
        ignore_eos=ignore_eos,
    )
    return Generation(tokens, sampling)


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _require_supported(options: Mapping[str, Any], output: Mapping[str, Any]) -> None:
    for field, neutral in _UNSUPPORTED:
        if options.get(field) not in neutral:
            raise RequestRefused(f"{field}: is not supported by this worker; leave it out")
    if output.get("logprobs") is not None or output.get("prompt_logprobs") is not None:
        raise RequestRefused("logprobs: are not supported by this worker; leave them out")
