"""Frontends: what receives requests, and what it asks of the workers."""
