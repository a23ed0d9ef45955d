"""Update packages: how they are decrypted, verified, unpacked, compared and installed."""
