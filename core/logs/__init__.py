"""The logs: audit log, access log and service log."""
