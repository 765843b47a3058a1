"""Frozen records of every result. No torch here: a gate on saved JSON must start in a blink."""
