"""Disaggregated serving worker: the reference engine, its KV transfer and its place behind Dynamo."""
