"""The way between a socket and a handler: connections, TLS, requests, forms, routes, responses."""
