"""What a notebook sees of pixels: imagery and maps as xarray objects, models over them, and what maps can do."""
