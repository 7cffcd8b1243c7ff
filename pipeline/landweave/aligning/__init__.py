"""The feature "cube": series and rasters aligned on one grid, tile by tile and time shard by time shard, resumable."""
