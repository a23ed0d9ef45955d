"""The example configuration, which `jidoteki init` starts from."""
