"""The CustomResourceDefinition, made from the models.

``python -m disagg_operator.api.crd`` writes it, ``--check`` fails when the written files are stale.
"""
