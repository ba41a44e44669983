"""JSON of the API server, read and written by pydantic's parser: several times as quick as Python's own.

Its depth is bounded, that of objects in the API server is not (see `nesting`): what is too deep for it, or
holds what it refuses, is left to Python's.
"""

import json
from typing import Any

from pydantic_core import from_json, to_json


def decode(text: bytes) -> Any:
    """Read a JSON document.

    Raises:
        ValueError: it is none.
    """
    try:
        # Keys come again and again; values need not be remembered.
        return from_json(text, cache_strings="keys")
    except ValueError:
        return json.loads(text)


def encode(document: Any) -> bytes:
    """Write a JSON document as compactly as it goes."""
    try:
        return to_json(document)
    except ValueError:
        return json.dumps(document, separators=(",", ":")).encode()
