"""A gate's result in any of its formats. Pure: a record in, text out."""
