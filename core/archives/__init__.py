"""Archives: reading and unpacking tar safely, decompression and encryption."""
