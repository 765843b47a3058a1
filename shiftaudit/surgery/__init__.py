"""Anti-aliased downsampling: sites, plan, and the rewriting of a model's graph; never of the model itself."""
