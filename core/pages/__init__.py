"""Public pages outside of the API: those of plugins, and `/docs`."""
