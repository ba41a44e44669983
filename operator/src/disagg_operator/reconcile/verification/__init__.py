"""Proof of transport: what is asked of the verifier, and what follows from its answer."""
