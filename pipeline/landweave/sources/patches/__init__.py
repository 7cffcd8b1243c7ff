"""Datasets of patches as IGN publishes them: FLAIR-HUB, FLAIR#1 and FLAIR#2."""
