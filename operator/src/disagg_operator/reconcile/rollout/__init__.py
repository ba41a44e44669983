"""Rollouts: how far the new revision is, and when the old one has gone."""
