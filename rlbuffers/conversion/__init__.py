"""The way in: source -> decode and encode -> writer -> store, and a look back at what was written."""
