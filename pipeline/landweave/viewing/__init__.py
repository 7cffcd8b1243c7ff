"""The feature "view": a map at any zoom, in a browser or a notebook, from a server on this machine."""
