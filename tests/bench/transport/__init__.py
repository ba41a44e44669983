"""Measuring which evidence KV cache leaves when it moves between two GPUs of one host."""
