"""Reading a Containerfile for what it takes from the build context. Pure."""

import re
import shlex


def context_sources(text: str) -> list[str]:
    """List the files and folders that COPY, ADD and bind mounts take from the build context.

    Args:
        text: A Containerfile; sources are relative paths without wildcards.

    Raises:
        ValueError: If an instruction has a form whose sources cannot be told.
    """
    joined = re.sub(
        r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    )
    found: set[str] = set()
    for line in joined.splitlines():
        instruction, _, rest = line.strip().partition(" ")
        match instruction.upper():
            case "COPY" | "ADD":
                found.update(_copied(rest))
            case "RUN":
                found.update(_bound(rest))
    return sorted(found)


def _copied(arguments: str) -> list[str]:
    words = shlex.split(arguments)
    if any(word.startswith("--from=") for word in words):
        return []
    paths = [word for word in words if not word.startswith("--")]
    if any(re.search(r"[*?\[\]$]", path) for path in paths[:-1]):
        raise ValueError(f"COPY {arguments}: name files and folders without wildcards or variables")
    return [_relative(path) for path in paths[:-1]]


def _bound(arguments: str) -> list[str]:
    mounts = [word.removeprefix("--mount=") for word in arguments.split() if word.startswith("--mount=")]
    options = [dict(part.partition("=")[::2] for part in mount.split(",")) for mount in mounts]
    return [
        _relative(option.get("source") or option.get("src") or ".")
        for option in options
        if option.get("type", "bind") == "bind" and "from" not in option
    ]


def _relative(path: str) -> str:
    return path.removeprefix("./").rstrip("/") or "."
