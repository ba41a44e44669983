"""Reporting: status, conditions and Events, from one reconcile's knowledge."""
