"""Maps in Zarr."""
