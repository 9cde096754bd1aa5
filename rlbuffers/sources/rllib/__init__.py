"""RLlib's offline data: JSON lines and Parquet."""
