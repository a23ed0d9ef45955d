"""The optional endpoints, each a plugin that uses nothing a third party's plugin cannot."""
