"""Rules about prefill against decode: what TensorRT-LLM compares when the two meet, and refuses then."""

from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.api.v1alpha1.runtime import RouterMode
from disagg_operator.plan.engines.config import value_at
from disagg_operator.plan.engines.trtllm import (
    ADDS_LAYERS,
    BLOCK,
    SPECULATIVE,
    TOKENS_PER_BLOCK,
    TRANSCEIVER,
)
from disagg_operator.plan.model import DECODE, PREFILL, ROLES
from disagg_operator.plan.rules.subject import Subject
from disagg_operator.platforms.trtllm.schema import argument

_DOC = "https://nvidia.github.io/TensorRT-LLM/features/disagg-serving.html"
_FORMATTERS = "TensorRT-LLM: cacheFormatter and mlaCacheFormatter, inquireSupport"
_DTYPE = "kv_cache_config.dtype"
_RUNTIME = f"{TRANSCEIVER}.transceiver_runtime"
_LONGEST = "max_seq_len"


def _configs(subject: Subject) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the roles' engine configurations with their paths, for an engine that is TensorRT-LLM."""
    if subject.trtllm is not None:
        for path, role in subject.roles():
            yield f"{path}.engineConfig", role.engine_config


def _both(subject: Subject, key: str) -> tuple[Any, Any] | None:
    """Return the values of prefill and decode, or None for another engine."""
    values = [value_at(config, key) for _, config in _configs(subject)]
    return (values[0], values[1]) if values else None


def _blocks(subject: Subject) -> Iterator[Finding]:
    prefill, decode = _both(subject, BLOCK) or (None, None)
    yield from _unequal(
        BLOCK, "a KV block (in tokens)", prefill or TOKENS_PER_BLOCK, decode or TOKENS_PER_BLOCK
    )


def _runtimes(subject: Subject) -> Iterator[Finding]:
    prefill, decode = _both(subject, _RUNTIME) or (None, None)
    yield from _unequal(_RUNTIME, "the runtime", _runtime(subject, prefill), _runtime(subject, decode))


def _runtime(subject: Subject, written: Any) -> Any:
    known = argument(subject.trtllm, _RUNTIME) if subject.trtllm else None
    return written or ("auto" if known and "auto" in known.choices else "CPP")


def _unequal(key: str, what: str, prefill: Any, decode: Any) -> Iterator[Finding]:
    if prefill != decode:
        fault = f"{what} is {decode} here and {prefill} on prefill, whose KV cache decode then refuses"
        yield Finding(f"spec.{DECODE}.engineConfig.{key}", fault, "Write the same on both roles")


def _dtype_differs(subject: Subject) -> Iterator[Finding]:
    prefill, decode = _both(subject, _DTYPE) or (None, None)
    if _explicit(prefill) and _explicit(decode):
        yield from _unequal(_DTYPE, "the type of the KV cache", prefill, decode)


def _dtype_one_sided(subject: Subject) -> Iterator[Finding]:
    values = _both(subject, _DTYPE)
    if values is not None and _explicit(values[0]) != _explicit(values[1]):
        given, other = (PREFILL, DECODE) if _explicit(values[0]) else (DECODE, PREFILL)
        fault = f"{given} says the type of the KV cache, and {other} takes the checkpoint's"
        yield Finding(f"spec.{other}.engineConfig.{_DTYPE}", fault, "Write the same on both roles")


def _explicit(dtype: Any) -> bool:
    return dtype not in (None, "auto")


def _parallelism(subject: Subject) -> Iterator[Finding]:
    keys = {
        "tensor_parallel_size": "tensor",
        "pipeline_parallel_size": "pipeline",
        "context_parallel_size": "context",
        "moe_expert_parallel_size": "expert",
    }
    specs = {
        "spec.prefill.engineConfig": subject.spec.prefill,
        "spec.decode.engineConfig": subject.spec.decode,
    }
    for path, config in _configs(subject):
        for key, field in keys.items():
            size = getattr(specs[path].parallelism, field)
            if key in config and config[key] != size:
                place = f"{path.removesuffix('.engineConfig')}.parallelism.{field}"
                remedy = f"Leave it out and write {place}, from which GPUs are derived"
                yield Finding(f"{path}.{key}", f"{config[key]} contradicts {place}, which is {size}", remedy)


def _overlap(subject: Subject) -> Iterator[Finding]:
    values = _both(subject, "disable_overlap_scheduler")
    if values is not None and values[0] is not True:
        fault = "prefill refuses each request while scheduling and execution overlap"
        yield Finding(f"spec.{PREFILL}.engineConfig.disable_overlap_scheduler", fault, "Leave it out")


def _one_sided(subject: Subject) -> tuple[str, str, str] | None:
    """Return the role that decodes speculatively, the other, and how it does, if one role alone does."""
    prefill, decode = _both(subject, SPECULATIVE) or (None, None)
    if bool(prefill) == bool(decode):
        return None
    given, other = (PREFILL, DECODE) if prefill else (DECODE, PREFILL)
    return given, other, str(value_at({"found": prefill or decode}, "found.decoding_type"))


def _layers_differ(subject: Subject) -> Iterator[Finding]:
    found = _one_sided(subject)
    if found is not None and found[2] == ADDS_LAYERS:
        given, other, kind = found
        fault = f"{kind} of {given} adds layers to the KV cache, which {other} lacks"
        yield Finding(f"spec.{other}.engineConfig.{SPECULATIVE}", fault, "Write the same on both roles")


def _layers_may_differ(subject: Subject) -> Iterator[Finding]:
    found = _one_sided(subject)
    if found is not None and found[2] != ADDS_LAYERS:
        given, other, kind = found
        fault = (
            f"speculative decoding ({kind}) of {given} may add layers to the KV cache, which {other} lacks"
        )
        yield Finding(f"spec.{other}.engineConfig.{SPECULATIVE}", fault, "Write the same on both roles")


def _speculations_differ(subject: Subject) -> Iterator[Finding]:
    """Find two ways of speculative decoding that give the KV cache different numbers of layers."""
    found = [each for each in _both(subject, SPECULATIVE) or () if isinstance(each, Mapping) and each]
    if len(found) < len(ROLES):
        return
    kinds = [str(each.get("decoding_type")) for each in found]
    layers = [each.get("num_nextn_predict_layers") for each in found]
    if kinds[0] != kinds[1]:
        fault = f"speculative decoding is {kinds[1]} here and {kinds[0]} on prefill, with layers of their own"
        yield Finding(f"spec.{DECODE}.engineConfig.{SPECULATIVE}", fault, "Write the same on both roles")
    elif kinds[0] == ADDS_LAYERS and layers[0] != layers[1]:
        fault = f"{layers[1]} layers here and {layers[0]} on prefill may give KV caches that do not fit"
        field = f"spec.{DECODE}.engineConfig.{SPECULATIVE}.num_nextn_predict_layers"
        yield Finding(field, fault, "Write the same on both roles")


def _sequences(subject: Subject) -> Iterator[Finding]:
    """Find a decode role that cannot hold what prefill takes."""
    prefill, decode = _both(subject, _LONGEST) or (None, None)
    if isinstance(prefill, int) and isinstance(decode, int) and decode < prefill:
        fault = f"{decode} tokens are less than prefill's {prefill}: decode holds a prompt and its answer"
        yield Finding(f"spec.{DECODE}.engineConfig.{_LONGEST}", fault, f"Write {prefill} or more")


def _beams(subject: Subject) -> Iterator[Finding]:
    for path, config in _configs(subject):
        width = config.get("max_beam_width")
        if isinstance(width, int) and width > 1:
            yield Finding(f"{path}.max_beam_width", "KV cache of several beams is not transferred", "Write 1")


def _context(subject: Subject) -> Iterator[Finding]:
    if subject.trtllm is not None and subject.spec.decode.parallelism.context > 1:
        fault = (
            "KV cache reaches a decode role with context parallelism only for models with latent attention"
        )
        remedy = "Write 1 unless the model has it (MLA), as DeepSeek's have"
        yield Finding("spec.decode.parallelism.context", fault, remedy)


def _flashinfer(subject: Subject) -> Iterator[Finding]:
    spec = subject.spec
    if spec.prefill.parallelism.tensor == spec.decode.parallelism.tensor:
        return
    for path, config in _configs(subject):
        if str(config.get("attn_backend")).upper() == "FLASHINFER":
            fault = "answers are known to be wrong where the roles have different tensor sizes"
            yield Finding(f"{path}.attn_backend", fault, "Leave it out, or write the same size on both roles")


def _graphs_fit(subject: Subject) -> Iterator[Finding]:
    """Find a decode role whose largest graph takes more tokens than a step may have."""
    for path, config in _configs(subject):
        drafts = _drafts(config)
        tokens = config.get("max_num_tokens")
        batch = value_at(config, "cuda_graph_config.max_batch_size")
        sizes = value_at(config, "cuda_graph_config.batch_sizes")
        largest = max((each for each in (batch, *_list(sizes)) if isinstance(each, int)), default=None)
        if drafts and isinstance(tokens, int) and largest is not None and tokens < largest * (drafts + 1):
            fault = f"{tokens} tokens are less than a batch of {largest} takes with {drafts} drafts each"
            remedy = f"Write at least {largest * (drafts + 1)}, or fewer graphs"
            yield Finding(f"{path}.max_num_tokens", fault, remedy)


def _drafts(config: Mapping[str, Any]) -> int:
    """Return how many tokens a step drafts for each request, as far as the configuration says so."""
    names = ("num_nextn_predict_layers", "max_draft_len")
    found = (value_at(config, f"{SPECULATIVE}.{name}") for name in names)
    return next((each for each in found if isinstance(each, int)), 0)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _reuse(subject: Subject) -> Iterator[Finding]:
    routed = subject.spec.frontend.router_mode is RouterMode.KV
    remedy = "Watch for requests that hang, or take another frontend.routerMode" if routed else "Leave it out"
    for path, config in _configs(subject):
        if value_at(config, "kv_cache_config.enable_block_reuse") is True:
            fault = "a block may be evicted before it was sent, and decode then waits for ever"
            yield Finding(f"{path}.kv_cache_config.enable_block_reuse", fault, remedy)


RULES: tuple[Rule[Subject], ...] = (
    Rule("kv-dtype-equal", _FORMATTERS, _dtype_differs),
    Rule("kv-dtype-on-both", _DOC, _dtype_one_sided, severity=Severity.WARN),
    Rule("tokens-per-block-equal", _FORMATTERS, _blocks),
    Rule(
        "transceiver-runtime-equal",
        "TensorRT-LLM: llm_args.py, transceiver_runtime",
        _runtimes,
    ),
    Rule("parallelism-agrees", "docs: spec.prefill.parallelism", _parallelism),
    Rule("prefill-without-overlap", _DOC, _overlap, unsafe=True),
    Rule("mtp-on-both", _FORMATTERS, _layers_differ, unsafe=True),
    Rule("speculation-on-both", _FORMATTERS, _layers_may_differ, severity=Severity.WARN),
    Rule("speculation-equal", _FORMATTERS, _speculations_differ, severity=Severity.WARN),
    Rule("decode-holds-prompt", _DOC, _sequences, severity=Severity.WARN),
    Rule("one-beam", _DOC, _beams),
    Rule(
        "decode-context-parallel",
        "https://github.com/NVIDIA/TensorRT-LLM/pull/7624",
        _context,
        severity=Severity.WARN,
    ),
    Rule(
        "flashinfer-equal-tensor",
        "https://github.com/NVIDIA/TensorRT-LLM/issues/6507",
        _flashinfer,
        severity=Severity.WARN,
    ),
    Rule(
        "graphs-fit-tokens",
        "Dynamo: examples/backends/trtllm/engine_configs/deepseek-r1/disagg/mtp/mtp_decode.yaml",
        _graphs_fit,
        severity=Severity.WARN,
    ),
    Rule(
        "no-block-reuse",
        "https://github.com/NVIDIA/TensorRT-LLM/issues/12542",
        _reuse,
        severity=Severity.WARN,
    ),
)
