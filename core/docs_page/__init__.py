"""`/docs`: the manual and an interactive reference of this appliance, offline and without a credential."""

from jidoteki.core.docs_page.serving import Docs, is_below

__all__ = ["Docs", "is_below"]
