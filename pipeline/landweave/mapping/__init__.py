"""The feature "map": a model over the inputs of every block, blended into land cover."""
