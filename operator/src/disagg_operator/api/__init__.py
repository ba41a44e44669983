"""The resource that users write and read: models, admission rules and the CRD made from them.

Nothing here knows Kubernetes clients, files or clocks; everything else in the operator may import it.
"""
