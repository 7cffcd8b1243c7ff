"""The ``landweave`` command."""
