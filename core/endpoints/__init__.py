"""The mandatory endpoints, registered through the same hooks as every plugin."""
