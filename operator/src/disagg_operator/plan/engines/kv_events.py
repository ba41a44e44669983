"""The words by which an engine's workers tell Dynamo's router which KV blocks they have."""

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.plan.engines.engine import Asked
from disagg_operator.plan.environment import fill
from disagg_operator.platforms.vocabulary import ON

FIELD = "spec.frontend.routerMode"


def kv_event_arguments(asked: Asked, tokens_per_block: int | None = None) -> tuple[str, ...]:
    """Return the words that a worker's command gets so that the router hears of its KV blocks.

    Args:
        asked: the workers.
        tokens_per_block: tokens of a KV block, by which router and engine have to count alike; None for an
            engine whose workers tell the router of it by themselves.

    Raises:
        Refusal: the engine's release cannot tell.
    """
    if asked.facts["kv_events"] != ON:
        return ()
    events = asked.release.kv_events
    if events is None:
        engine = asked.facts["engine"]
        fault = f"kv: {engine} {asked.release.version} does not tell this frontend which KV blocks it has"
        remedy = "Write round-robin or random, or another runtime.version"
        raise Refusal([Problem(FIELD, fault, remedy, "kv-events-in-release")])
    values = {**asked.facts, "tokens_per_block": tokens_per_block}
    return tuple(fill(word, values) for word in events.arguments)
