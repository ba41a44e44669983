"""Rules about routing: what the frontend of a release can go by, and what its workers must do for it."""

from collections.abc import Iterator

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.api.v1alpha1.runtime import Engine, FrontendKind, RouterMode
from disagg_operator.plan.engines.config import value_at
from disagg_operator.plan.routing import router_leaves_prompts, routing_facts, short_prompt_tokens
from disagg_operator.plan.rules.subject import Subject
from disagg_operator.platforms.vocabulary import ON

_FIELD = "spec.localPrefill"
_REUSE = {"trtllm": "kv_cache_config.enable_block_reuse", "reference": "kv_cache.enable_block_reuse"}
_CONDITIONAL = "https://github.com/ai-dynamo/dynamo/blob/main/lib/kv-router/src/conditional_disagg.rs"


def _written(subject: Subject) -> Iterator[str]:
    """Yield the fields of spec.localPrefill by which a frontend would have to go."""
    local = subject.spec.local_prefill
    if local is not None and local.prefix_hit is not None:
        yield "prefixHit.maxNewTokens"
        if local.prefix_hit.min_percent is not None:
            yield "prefixHit.minPercent"
    if local is not None and local.prefill_load_percent is not None:
        yield "prefillLoadPercent"


def _short_prompts(subject: Subject) -> Iterator[Finding]:
    engine = subject.spec.runtime.engine
    if short_prompt_tokens(subject.spec) and engine is not Engine.REFERENCE:
        fault = f"{engine} leaves no prompt to decode for its length alone: some of it has to be cached there"
        yield Finding(f"{_FIELD}.maxPromptTokens", fault, "Write prefixHit, or leave it out")


def _by_the_router(subject: Subject) -> Iterator[Finding]:
    can, runtime, release = subject.runtime.local_prefill, subject.runtime, subject.platform.release
    frontend = f"{runtime.name} {runtime.version}"
    for field in _written(subject):
        if can is None:
            newer = [version for version, each in subject.runtimes.items() if each.local_prefill]
            fault = f"the frontend of {frontend} sends every prompt to prefill"
            remedy = f"Write runtime.version {' or '.join(newer)}, or leave it out"
            yield Finding(f"{_FIELD}.{field}", fault, remedy if newer else "Leave it out")
        elif release.local_prefill is None:
            fault = f"decode workers of {subject.spec.runtime.engine} {release.version} refuse such prompts"
            yield Finding(f"{_FIELD}.{field}", fault, "Leave it out, or write another runtime.engine")
        elif field not in can.by:
            fault = f"the frontend of {frontend} cannot go by it"
            yield Finding(f"{_FIELD}.{field}", fault, f"Leave it out; it goes by {' and '.join(can.by)}")


def _needs_kv(subject: Subject) -> Iterator[Finding]:
    if router_leaves_prompts(subject.spec) and subject.spec.frontend.router_mode is not RouterMode.KV:
        fault = "the router knows what is cached, and how busy prefill is, in mode kv alone"
        for field in dict.fromkeys(name.split(".")[0] for name in _written(subject)):
            yield Finding(f"{_FIELD}.{field}", fault, "Write frontend.routerMode: kv, or leave it out")


def _reuse(subject: Subject) -> Iterator[Finding]:
    """Find workers that keep no block for another prompt, though the router looks for such blocks."""
    key = _REUSE.get(subject.spec.runtime.engine)
    for path, role in subject.roles() if key else ():
        written = role.role, subject.spec.prefill if role.role == "prefill" else subject.spec.decode
        off = value_at(written[1].engine_config, key or "") is False
        if off and routing_facts(subject.spec, role.role)["kv_events"] == ON:
            fault = "is false, and the router looks for blocks that prompts share"
            remedy = "Leave it out, or write frontend.routerMode: round-robin"
            yield Finding(f"{path}.engineConfig.{key}", fault, remedy)


def _reuse_has_its_price(subject: Subject) -> Iterator[Finding]:
    runtime, by_kv = subject.spec.runtime, subject.spec.frontend.router_mode is RouterMode.KV
    # Behind trtllm-serve it is written out, and judged where it stands.
    if runtime.engine is Engine.TRTLLM and runtime.frontend is FrontendKind.DYNAMO and by_kv:
        fault = (
            "TensorRT-LLM shares blocks then, and may evict one that was not sent yet, for which decode waits"
        )
        yield Finding("spec.frontend.routerMode", fault, "Watch for requests that hang, or write round-robin")


def _canary(subject: Subject) -> Iterator[Finding]:
    asked, short = subject.spec.verification.prompt_tokens, short_prompt_tokens(subject.spec)
    if asked is not None and asked <= short:
        fault = f"{asked} tokens are left to decode, so that no KV cache moves"
        yield Finding("spec.verification.promptTokens", fault, f"Write more than {short}, or leave it out")


RULES: tuple[Rule[Subject], ...] = (
    Rule("local-prefill-of-short-prompts", _CONDITIONAL, _short_prompts),
    Rule("local-prefill-in-release", "the release's profile", _by_the_router),
    Rule("local-prefill-needs-kv", "Dynamo 1.6.1: dynamo/frontend/frontend_args.py", _needs_kv),
    Rule("kv-routing-needs-reuse", "Dynamo 1.6.1: dynamo/trtllm/workers/llm_worker.py", _reuse),
    Rule(
        "kv-routing-shares-blocks",
        "https://github.com/NVIDIA/TensorRT-LLM/issues/12542",
        _reuse_has_its_price,
        severity=Severity.WARN,
    ),
    Rule("canary-moves-kv", "docs/routing.md", _canary),
)
