"""The feature "publish": a map as files that offices use, dalle by dalle, with a catalog over them."""
