"""The optional endpoints, each a plugin that uses nothing a third party's plugin cannot."""

from typing import Final

ALWAYS_SERVED: Final = frozenset({"jobs"})
"""Those in service on every appliance, for what others answer leads to them; `GET /endpoints` lists what is enabled."""
