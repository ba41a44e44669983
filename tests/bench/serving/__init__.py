"""Measuring disaggregated against aggregated serving of the reference engine."""
