"""Running: everything around reconciling that needs an event loop, a network or a clock.

The only rooms of the house that know kopf (`glue`), the Kubernetes client (`kube`) and Prometheus
(`metrics`).
"""
