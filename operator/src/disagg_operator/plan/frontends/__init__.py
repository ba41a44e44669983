"""The kinds of frontends: each is one module that answers the same questions (`family.py`)."""
