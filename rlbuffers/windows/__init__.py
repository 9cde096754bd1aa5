"""What is read where a sampler draws: single transitions, n steps, sequences or whole episodes.

A window turns drawn numbers (of rows, or of episodes) into a batch. It holds no state and no
randomness, so that any number of threads may read at once; see ``base.py`` for the contract.
"""
