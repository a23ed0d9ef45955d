"""Authentication and authorization: tokens, signatures, users with scopes, and the gate that checks every request."""
