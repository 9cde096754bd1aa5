"""One file per source format; see ``base.py`` for the contract."""
