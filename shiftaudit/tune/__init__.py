"""Recovery: teach a patched copy on unlabelled pictures to answer as its original does."""
