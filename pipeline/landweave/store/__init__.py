"""Where results are kept: maps, ledgers and objects in Zarr, on disk or in an object store."""
