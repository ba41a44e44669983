"""Events of the KV pool as Dynamo's router takes them."""

from collections.abc import Callable

from dynamo.llm import KvEventPublisher

from disagg_worker.kv import KVEvent, Stored, number


def publisher_of(publisher: KvEventPublisher, block_tokens: int) -> Callable[[KVEvent], None]:
    """Return what hands events to a publisher; it may be called from any thread.

    Args:
        publisher: Dynamo's, of this worker.
        block_tokens: Tokens of a block.
    """

    def publish(event: KVEvent) -> None:
        keys = [number(key) for key in event.keys]
        if isinstance(event, Stored):
            parent = None if event.parent is None else number(event.parent)
            publisher.publish_stored(list(event.tokens), [block_tokens] * len(keys), keys, parent)
        else:
            publisher.publish_removed(keys)

    return publish
