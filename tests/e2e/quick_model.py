"""A model that costs next to nothing, so that hundreds of answers take seconds.

It is a Llama of one layer with random weights, the same in every pod, and the tokenizer of the image's model.
What it says means nothing, but it is computed, transferred and streamed like any answer.
"""

from typing import Any

from e2e.installation import UNPRIVILEGED

PATH = "/quick-model"
VOLUME = {"name": "quick-model", "emptyDir": {}}
MOUNT = {"name": "quick-model", "mountPath": PATH}
_WRITE = f"""
import json, shutil
from pathlib import Path
import numpy as np
from gguf import GGUFWriter

out, hidden = Path({PATH!r}), 64
for document in Path("/models/smollm2-135m-instruct").glob("*.json"):
    shutil.copy(document, out)
vocab = json.loads((out / "config.json").read_text())["vocab_size"]
writer, rng = GGUFWriter(out / "model.gguf", "llama"), np.random.default_rng(0)
writer.add_vocab_size(vocab)
writer.add_context_length(8192)
writer.add_embedding_length(hidden)
writer.add_block_count(1)
writer.add_feed_forward_length(hidden)
writer.add_head_count(1)
writer.add_head_count_kv(1)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_tensor("token_embd.weight", rng.standard_normal((vocab, hidden), dtype=np.float32))
writer.add_tensor("output_norm.weight", np.ones(hidden, dtype=np.float32))
for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
    matrix = rng.standard_normal((hidden, hidden), dtype=np.float32) / 8
    writer.add_tensor(f"blk.0.{{name}}.weight", matrix)
for name in ("attn_norm", "ffn_norm"):
    writer.add_tensor(f"blk.0.{{name}}.weight", np.ones(hidden, dtype=np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
"""


def pod_template(image: str) -> dict[str, Any]:
    """Return what is laid over a worker's pod so that it finds the model.

    Args:
        image: the worker's image.
    """
    return {
        "spec": {
            "initContainers": [writer(image)],
            "containers": [{"name": "worker", "volumeMounts": [MOUNT]}],
            "volumes": [VOLUME],
        }
    }


def writer(image: str) -> dict[str, Any]:
    """Return the init container that writes the model into the pod's volume."""
    return {
        "name": "quick-model",
        "image": image,
        "command": ["python3", "-c", _WRITE],
        "securityContext": UNPRIVILEGED,
        "volumeMounts": [MOUNT],
    }
