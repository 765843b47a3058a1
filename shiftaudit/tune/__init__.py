"""Recovery: teach a patched copy on unlabelled images to answer as its original does."""
