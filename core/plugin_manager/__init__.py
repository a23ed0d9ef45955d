"""The plugins: where they come from, how they are loaded, and what keeps them from harming the host."""
