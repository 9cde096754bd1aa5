"""What policies are worth: episodes, scores, videos, and runs compared."""
