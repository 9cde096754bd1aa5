"""Tianshou's replay buffers."""
