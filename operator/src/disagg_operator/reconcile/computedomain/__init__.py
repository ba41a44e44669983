"""The ComputeDomain of a deployment: made before its workers, gone after the last of them."""
