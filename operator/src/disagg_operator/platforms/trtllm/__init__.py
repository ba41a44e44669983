"""TensorRT-LLM's own schema: what the YAML file of its engine may hold, version by version."""
