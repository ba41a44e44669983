"""Fetches the files of a model from a Hugging Face compatible hub, once for all that share a directory.

It runs before workers start, in a Job or as an init container, and never beside an engine.
Invariant: a directory under its final name is whole, and its files never change again.
"""
