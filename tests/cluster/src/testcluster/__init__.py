"""A real Kubernetes for tests and the demo: kind, an embedded one, or a cluster that exists already."""
