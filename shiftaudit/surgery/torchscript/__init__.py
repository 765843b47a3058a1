"""Scripted and traced modules, as TorchScript graphs."""
