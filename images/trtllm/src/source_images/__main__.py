"""`python -m source_images`."""

from source_images.main import app

app(prog_name="source-images")
