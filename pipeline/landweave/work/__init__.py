"""How any block job is planned, priced, run, recorded and resumed; it knows no model and no raster."""
