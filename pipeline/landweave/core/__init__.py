"""Values and rules: grids, lattices, blending, legends, time series, and the protocols that adapters implement."""
