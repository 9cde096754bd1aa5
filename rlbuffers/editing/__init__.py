"""Buffers made of buffers: one module an operation; their functions are public as ``rlbuffers.subset(...)``, ..."""
