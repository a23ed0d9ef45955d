"""The vocabulary of the reference's character classes and lengths. Each raises voluptuous.Invalid with what is allowed."""
