"""Default bands of Sentinel series, with the names and in the order of FLAIR-HUB."""

SENTINEL2_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
"""Reflectance; B2, B3, B4 and B8 have pixels of 10 m, the others of 20 m."""

SENTINEL1_BANDS = ("VV", "VH")
"""Backscatter by polarisation."""

ELEVATION_BANDS = ("DSM", "DTM", "NDSM")
"""Surface, terrain, and surface minus terrain; all in metres."""
