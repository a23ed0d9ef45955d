"""Archives: which members are unpacked, how they are read and written, and what encrypts and compresses them."""
