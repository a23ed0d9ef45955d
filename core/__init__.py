"""The host: application, configuration, authentication, jobs and files. It knows no optional plugin by name."""
