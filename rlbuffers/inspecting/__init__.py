"""What can be told of finished buffers: where they are, what they cost, how fast they are, what their numbers mean."""
