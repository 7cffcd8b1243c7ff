"""The feature "compare": changes between two maps, and agreement with other rasters."""
