"""Bytes in, bytes out: the HTTP contract, and who may use it."""
