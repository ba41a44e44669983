"""The ways to get a Kubernetes cluster, behind one interface."""
