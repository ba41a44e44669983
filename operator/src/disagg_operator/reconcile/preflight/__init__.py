"""Preflight: whether the cluster can run what was planned, from what it says of itself. Pure.

Nodes, device plugins, APIs and the namespace's policy are compared with what the planned pods ask for. Every
check is a necessary condition: a cluster that could run the deployment while nothing else runs in it passes.
Room that other pods take is the scheduler's business, and its answer is in condition Available.
"""
