"""The optional endpoints, each a plugin that uses nothing a third party's plugin cannot."""

from typing import Final

ALWAYS_SERVED: Final = frozenset({"dashboard", "jobs"})
"""Those in service on every appliance, for what others answer leads to them; `GET /endpoints` lists what is enabled."""

BRINGS_ALONG: Final = {"dashboard": frozenset({"downloads", "events", "history", "session", "uploads"})}
"""What is in service, without being enabled, together with one of those unless that has `"enabled": false`."""

GIVES_WAY: Final = frozenset({"audit", "dashboard", "downloads", "events", "history", "metrics", "session", "uploads"})
"""Those that are left out where another plugin has their name or their path: appliances had such plugins before."""
