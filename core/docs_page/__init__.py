"""`/docs`: the manual and an interactive reference of this appliance, offline and without a credential."""

from jidoteki.core.docs_page.serving import PATH, pages

__all__ = ["PATH", "pages"]
