"""Measuring how KV cache of real layouts moves between two GPUs, or two processes, beside the bare link."""
