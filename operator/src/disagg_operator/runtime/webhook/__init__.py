"""The optional admission webhook: the operator's verdict at the moment that somebody applies a resource.

A process of its own with no permission in the cluster. It judges just as the operator does, so that a cluster
without it, or one whose webhook is down, loses the early answer and nothing else.
"""
