"""Engines: what a worker runs, and the configuration file that each role gets."""
