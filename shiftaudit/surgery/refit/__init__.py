"""Closed-form recovery: the layers of a patched copy are fitted, one after the other, to what its original computes."""
