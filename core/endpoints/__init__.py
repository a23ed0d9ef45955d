"""The endpoints that cannot be disabled, registered through the same hooks as every plugin."""
