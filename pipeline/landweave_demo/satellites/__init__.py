"""What Sentinel-1 and Sentinel-2 would measure of a landscape through one synthetic year."""
