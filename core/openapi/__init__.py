"""The description of the API as an OpenAPI 3.1 document, made from the routes that the server runs."""

from jidoteki.core.openapi.document import describe

__all__ = ["describe"]
