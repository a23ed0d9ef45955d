"""The documentation site, which `make site` builds of the pages as they are."""

project = "Jidoteki Admin API"
author = "The Jidoteki Admin API contributors"
project_copyright = author

root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "examples/*/*.md"]

extensions = ["myst_parser"]
myst_heading_anchors = 4
smartquotes = False
nitpicky = True

html_theme = "furo"
html_title = project
