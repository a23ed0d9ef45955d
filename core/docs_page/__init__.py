"""`/docs`: the manual and an interactive reference of this appliance, offline and without a credential."""

from jidoteki.core.docs_page.serving import PATH, Docs, is_below

__all__ = ["PATH", "Docs", "is_below"]
