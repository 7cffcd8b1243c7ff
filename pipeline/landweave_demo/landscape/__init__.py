"""A synthetic landscape: terrain, parcels and their use, buildings and trees, and the aerial image of it all."""
