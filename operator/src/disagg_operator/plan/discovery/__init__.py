"""How frontend and workers find each other: the stores, the services that run them, the wait for them."""
