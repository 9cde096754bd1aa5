"""Data cards: a buffer's metadata as the page that people read, and as the JSON-LD that machines read."""
