"""From chunks to batches: rows of a stored array, the columns made of them, and what is kept in memory."""
