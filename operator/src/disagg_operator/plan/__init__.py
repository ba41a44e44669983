"""Decisions: from a specification and the platform's facts to a complete plan. Pure and deterministic."""
