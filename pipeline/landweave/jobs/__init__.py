"""How any block job is planned, run, recorded and resumed; it knows no model and no raster."""
