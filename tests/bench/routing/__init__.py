"""What is measured about routing."""
