"""Views: an image under a shift. The settings of an audit, the shifts drawn from them, and the cutting of a view."""
