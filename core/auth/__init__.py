"""Who may do what: tokens, signatures, users and their scopes, and the gate that every request passes."""
