"""Reconciling: observe → plan → apply → report, every time from what is there.

Nothing here knows a Kubernetes client: the cluster is a port (`cluster.Cluster`) and objects are plain dicts.
"""
