"""Writes a configuration file that is complete only inside the pod: no ConfigMap may hold its key.

It runs in the engine's own image, before its container: Python 3 and PyYAML, which TensorRT-LLM needs itself.
Arguments: the file as it was derived, the file to write, further keys as a JSON object, and, for each key
whose value is the text of a file, ``name=file``.
"""

import json
import sys
from pathlib import Path

import yaml


def main(source: str, target: str, further: str, *secrets: str) -> None:
    """Write the complete file, for nobody but this user."""
    settings = {**yaml.safe_load(Path(source).read_text(encoding="utf-8")), **json.loads(further)}
    for each in secrets:
        name, _, file = each.partition("=")
        settings[name] = Path(file).read_text(encoding="utf-8").strip()
    Path(target).touch(0o600)
    Path(target).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
