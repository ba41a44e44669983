"""Pages and dashboards about metrics, made from the code: `python -m monitoring`, with hack/ on the path."""
