"""Which files of a repository are fetched. Pure."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch

_SAFE = "*.safetensors"
_SAME_WEIGHTS = (
    "*.bin",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.h5",
    "*.msgpack",
    "*.ot",
    "*.onnx",
    "*.onnx_data",
    "*.tflite",
    "original/*",
)
"""Further copies of the weights that repositories keep beside safetensors, and that no engine here reads."""
_NEVER = (".git*", "*/.git*")


def chosen(files: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Return the files to fetch, sorted.

    Args:
        files: Paths in the repository.
        patterns: What the user asks for, as shell patterns; none for all but further copies of the weights.
    """
    there = sorted(files)
    if patterns:
        return [file for file in there if _any(file, patterns)]
    copies = _SAME_WEIGHTS if any(fnmatch(file, _SAFE) and "/" not in file for file in there) else ()
    return [file for file in there if not _any(file, (*copies, *_NEVER))]


def _any(file: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(file, pattern) for pattern in patterns)
