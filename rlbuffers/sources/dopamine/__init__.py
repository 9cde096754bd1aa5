"""Dopamine's replay logs."""
