"""Samplers draw row indices from a numpy Generator and read them as batches."""
