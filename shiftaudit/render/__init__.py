"""Formatters: a record in, text out. Nothing here computes a measure, reads a model or imports torch."""
