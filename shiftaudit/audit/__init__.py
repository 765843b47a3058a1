"""An audit: model and images to a report."""
