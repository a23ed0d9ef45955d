"""The service of one appliance: its parts put together, its listeners, and the way of one request through it."""
