"""Sources of pixels: mosaics, elevation models and satellite series, opened from headers, read on any grid."""
