"""Pod groups: they start, restart and end as a whole."""
