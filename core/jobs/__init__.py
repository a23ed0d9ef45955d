"""Background jobs: each is a process that holds the lock of its job type."""
