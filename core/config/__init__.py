"""The configuration file: its sections, how it is read, and the JSON Schema that describes it."""
