"""``kubectl disagg``: what people ask of deployments from a terminal."""
