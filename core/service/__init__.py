"""The service of one appliance: assembles the parts of the host, and handles requests."""
