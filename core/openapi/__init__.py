"""The description of the API as an OpenAPI 3.1 document, generated from the active routes."""

from jidoteki.core.openapi.document import describe

__all__ = ["describe"]
