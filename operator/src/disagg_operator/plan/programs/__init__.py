"""Programs that run inside pods: each is one file for the Python 3 of any image, without a package."""
