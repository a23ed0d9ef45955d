"""The configuration file: its sections, how it is loaded, and its JSON Schema."""
