"""Downsampling stages of any running model: found in one forward pass, named, and measured."""
