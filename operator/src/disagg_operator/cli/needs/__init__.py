"""``kubectl disagg render --needs``: what a deployment needs from its cluster, from its plan alone. Pure."""
