"""One command, one file; whatever is heavy is imported inside the command's function."""
