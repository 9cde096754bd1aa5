"""d3rlpy's replay buffers."""
