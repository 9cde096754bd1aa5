"""Reverb's checkpoints, and the tables of a running Reverb server."""
