"""The engine behind Dynamo's worker API: requests in, token deltas out, by role."""
