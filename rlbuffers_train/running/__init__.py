"""Runs: the loop and its steps, what a run shows and writes, and several of them."""
