"""Maps, cubes and ledgers in Zarr, on disk or in an object store."""
