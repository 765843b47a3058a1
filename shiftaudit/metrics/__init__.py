"""From predictions and errors to measures with intervals. Numbers alone: no torch, no files."""
