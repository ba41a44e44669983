"""How the pods of one model instance on several nodes find each other and start together."""
