"""What the modalities of FLAIR-HUB hold: default bands, with its names and in its order, and types of numbers."""

SENTINEL2_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
"""Reflectance; B2, B3, B4 and B8 have pixels of 10 m, the others of 20 m."""

SENTINEL1_BANDS = ("VV", "VH")
"""Backscatter by polarisation."""

STORED_DTYPES = {
    "AERIAL_RGBI": "uint8",
    "AERIAL-RLT_PAN": "uint8",
    "SPOT_RGBI": "uint16",
    "SENTINEL2_TS": "uint16",
    "DEM_ELEV": "float32",
}
"""Types of the numbers in FLAIR-HUB's files, on which its models were trained, by modality."""

ELEVATION_BANDS = ("DSM", "DTM", "NDSM")
"""Surface, terrain, and surface minus terrain; all in metres."""

GROUND_M = (-500, 9_000)
"""The lowest and the highest ground on Earth, with room: no measured height in metres lies beyond."""


def is_radar(modality: str) -> bool:
    """Whether a modality is a series of Sentinel-1, which has a quantity and no clouds."""
    return modality.startswith("SENTINEL1")


def series_bands(modality: str) -> tuple[str, ...]:
    """The bands of a satellite series in FLAIR-HUB."""
    return SENTINEL1_BANDS if is_radar(modality) else SENTINEL2_BANDS
