"""Measuring KV reads between two workers."""
