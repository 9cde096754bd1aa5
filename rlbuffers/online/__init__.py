"""Buffers that grow while they are drawn from."""
