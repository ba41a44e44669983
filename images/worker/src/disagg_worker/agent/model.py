"""The shape of the served model's KV cache, out of its config.json in the engine's container.

The file is found below the root of an engine's process: in the directory of the model, or in the Hugging Face
cache when the model is named as a repository. Models for several media keep the language model's part in
`text_config`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from disagg_worker.agent.evidence import Model
from disagg_worker.agent.processes import Running
from disagg_worker.agent.reading import SMALL, Unread, names, open_regular, read_text

_LARGEST = 4 << 20
# Layers that keep a state of fixed size in place of keys and values.
_WITHOUT_KV = {"linear_attention", "mamba", "mamba2", "recurrent"}
# Variables that move the cache (huggingface_hub: constants.py), and the path from each to it.
_CACHES = (("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub"))


def read_model(name: str, engine: Iterable[Running], unread: Unread) -> Model | None:
    """Find and read the model's configuration.

    Args:
        name: Directory of the model as the engine sees it, or its repository; empty when unknown.
        engine: The engine's processes.
        unread: Gets a note when the file is not found or cannot be used.
    """
    if not name:
        return None
    why: OSError | str = "no process that has loaded a transport library has it"
    for process in engine:
        root = process.directory / "root"
        for path in _places(name, process):
            try:
                with open_regular(root / path.relative_to("/")) as file:
                    config = json.loads(file.read(_LARGEST))
                return geometry(config, str(path))
            except FileNotFoundError:
                continue
            except OSError as error:
                why = error
            except (ValueError, TypeError, AttributeError):
                why = f"{path} is no model configuration"
    unread.add(f"config.json of model {name}", why)
    return None


def geometry(config: Mapping[str, Any], path: str) -> Model:
    """Take the KV geometry out of a configuration.

    Args:
        config: config.json as transformers writes it.
        path: Where it was found.
    """
    text = config.get("text_config") or {}
    merged = {**config, **text}
    heads, hidden = _number(merged, "num_attention_heads"), _number(merged, "hidden_size")
    dtype = merged.get("torch_dtype") or merged.get("dtype")
    return Model(
        layers=_layers(merged),
        kv_heads=_number(merged, "num_key_value_heads") or heads,
        head_dim=_number(merged, "head_dim") or (hidden // heads if hidden and heads else None),
        kv_lora_rank=_number(merged, "kv_lora_rank"),
        rope_head_dim=_number(merged, "qk_rope_head_dim"),
        dtype=dtype if isinstance(dtype, str) else None,
        path=path,
    )


def _layers(config: Mapping[str, Any]) -> int | None:
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and kinds:
        return sum(kind not in _WITHOUT_KV for kind in kinds)
    return _number(config, "num_hidden_layers")


def _number(config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _places(name: str, process: Running) -> Iterator[Path]:
    """Where the configuration may lie, as paths of the engine's container."""
    if name.startswith("/"):
        yield Path(name) / "config.json"
        return
    root = process.directory / "root"
    for cache in _hub_caches(process):
        repository = cache / f"models--{name.replace('/', '--')}"
        below = root / repository.relative_to("/")
        try:
            revisions = names(below / "snapshots")
            main = read_text(below / "refs" / "main", 64).strip()
        except OSError:
            main = ""
            revisions = []
        for revision in sorted(revisions, key=lambda each: each != main):
            yield repository / "snapshots" / revision / "config.json"


def _hub_caches(process: Running) -> Iterator[Path]:
    try:
        raw = read_text(process.directory / "environ", SMALL * 4)
    except OSError:
        raw = ""
    environment = dict(entry.split("=", 1) for entry in raw.split("\0") if "=" in entry)
    for variable, below in _CACHES:
        if environment.get(variable, "").startswith("/"):
            yield Path(environment[variable]) / below
    home = environment.get("HOME", "")
    yield Path(home if home.startswith("/") else "/root") / ".cache" / "huggingface" / "hub"
