"""Disagg Operator: disaggregated LLM serving on Kubernetes, derived from one short resource."""
