"""Text that an example wants to have replaced, such as ``my-registry/vllm-runtime:my-tag``."""

import re

_PLACEHOLDER = re.compile(
    r"<[^<>]+>|\bmy-registry\b|\bmy-tag\b|\byour-[a-z-]+\b|\$\{?\w+\}?|\{\{.*?\}\}", re.IGNORECASE
)

WHY = "a placeholder of the example, which says nothing"


def is_placeholder(text: str) -> bool:
    """Tell whether a text holds what somebody has yet to write."""
    return _PLACEHOLDER.search(text) is not None
