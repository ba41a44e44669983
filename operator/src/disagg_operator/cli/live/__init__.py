"""What speaks to a cluster. Commands load it when they run, so that those without a cluster start quickly."""
