"""Satellite series from STAC: items to records, records to strips, strips to pixels."""
