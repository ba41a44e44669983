"""Environment variables that the API itself has something to say about, in the CRD and in admission alike."""

MISSPELT_PLUGIN_FOLDER = "NIXL_PLUGINS_DIR"
"""A name that some documents give for NIXL_PLUGIN_DIR, and that NIXL does not read."""

NIXL_BACKEND = "TRTLLM_NIXL_KVCACHE_BACKEND"
"""The variable by which TensorRT-LLM chooses NIXL's plugin."""

SGLANG_BACKEND = "SGLANG_DISAGGREGATION_NIXL_BACKEND"
"""The variable by which SGLang chooses NIXL's plugin."""

BACKENDS = ("UCX", "LIBFABRIC")
"""What TensorRT-LLM understands there; with anything else it silently uses UCX."""

KVBM_BACKEND = "DYN_KVBM_NIXL_BACKEND_"
"""Begins the variables that tell Dynamo's block manager its NIXL plugins; the plugin's name follows."""

KVBM_YES = ("true", "1", "on", "yes")
KVBM_NO = ("false", "0", "off", "no")
"""The words that these variables take (NVIDIA's page on KV cache transfer)."""

NIXL_PLUGINS = (
    "UCX",
    "GDS",
    "GDS_MT",
    "LIBFABRIC",
    "POSIX",
    "OBJ",
    "AZURE_BLOB",
    "HF3FS",
    "GUSLI",
    "UCCL",
    "GPUNETIO",
    "INFINIA",
    "MOONCAKE",
)
"""Plugins of NIXL 1.4, as Dynamo's variables name them (ai-dynamo/nixl: src/plugins)."""

EFA_SHARED_MEMORY = "FI_EFA_ENABLE_SHM_TRANSFER"
"""The variable by which libfabric's EFA provider copies through shared memory."""

ENGINE_NEUTRAL_BACKEND = "NIXL_BACKEND"
"""A variable by which other programs choose NIXL's plugin."""
