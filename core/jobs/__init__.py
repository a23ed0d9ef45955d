"""Background jobs: each a process of its own that holds the lock of its type for as long as it lives."""
