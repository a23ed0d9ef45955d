"""What is written down: who did what, every request, and what the service has to say."""
