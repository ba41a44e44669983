"""``kubectl disagg size``: what a model's requests need on a platform, and the resource that asks for it."""
