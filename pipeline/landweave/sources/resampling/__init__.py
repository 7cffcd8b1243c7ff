"""Resampling of rasters onto a grid: pixel coordinates, kernel weights, and the resampling itself."""
