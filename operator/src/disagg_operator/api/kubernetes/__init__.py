"""What Kubernetes says of the parts of a pod that users write: their shapes, and what texts may be."""
