"""Salvaging what is whole of a damaged or interrupted buffer."""
