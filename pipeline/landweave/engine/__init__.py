"""Engines that run blocks: a plain loop, which is the reference, or a Dask cluster."""
