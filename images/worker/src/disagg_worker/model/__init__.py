"""A Llama-architecture model over a paged KV cache, in array-API style."""
