"""Writers of the demo's files: tiles as a mapping agency delivers them, Sentinel scenes behind a STAC catalog."""
