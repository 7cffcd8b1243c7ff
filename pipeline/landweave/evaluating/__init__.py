"""The feature "evaluate": scores, calibration and area estimates of maps and models."""
