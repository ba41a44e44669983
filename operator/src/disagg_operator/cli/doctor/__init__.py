"""``kubectl disagg doctor``: one bundle of all that tells how a deployment is, and what is wrong with it."""
