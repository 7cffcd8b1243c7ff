"""Mosaics of image and elevation tiles."""
