"""The layers between a socket and a handler: connections, TLS, requests, forms, routes, responses."""
