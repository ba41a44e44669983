"""The optional admission webhook: the operator's verdict at the moment that somebody applies a resource.

A process of its own with no permission in the cluster. It judges by the operator's own rules, so that a
cluster without it, or one whose webhook is down, loses the early answer and nothing else. What only the
cluster knows (the number that a ComputeDomain was made with, what nodes offer) is the operator's to say.
"""
