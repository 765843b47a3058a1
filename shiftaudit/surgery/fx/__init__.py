"""Eager modules and exported programs, as torch.fx graphs."""
