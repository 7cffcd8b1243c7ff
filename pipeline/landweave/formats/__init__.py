"""Files that other tools read and write: COG, PNG, vector files."""
