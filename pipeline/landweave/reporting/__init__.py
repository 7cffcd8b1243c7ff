"""The feature "report": a map as one page that opens from disk."""
