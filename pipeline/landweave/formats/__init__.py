"""How a map leaves: COG, pictures, and other files that anyone's tools open."""
