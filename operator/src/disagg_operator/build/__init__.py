"""From a plan to Kubernetes objects as plain dicts: one file per kind, one function per object. Pure."""
