"""Environment variables that the API itself has something to say about, in the CRD and in admission alike."""

MISSPELT_PLUGIN_FOLDER = "NIXL_PLUGINS_DIR"
"""A name that some documents give for NIXL_PLUGIN_DIR, and that NIXL does not read."""

NIXL_BACKEND = "TRTLLM_NIXL_KVCACHE_BACKEND"
"""The variable by which TensorRT-LLM chooses NIXL's plugin."""

BACKENDS = ("UCX", "LIBFABRIC")
"""What TensorRT-LLM understands there; with anything else it silently uses UCX."""
