"""Satellite series from STAC: items to scenes, scenes to observations, observations to pixels."""
