"""Facts as data: YAML profiles of machines and runtime versions, each value with its source and reason."""
