"""The plugin manager: finds and loads plugins, and isolates the host from their failures."""
