"""Scaling from outside: the counts in force, and the DisaggScalers that set them."""
