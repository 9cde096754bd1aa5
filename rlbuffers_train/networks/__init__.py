"""Networks that the algorithms wire together: one file for what sees, one for each kind of action."""
