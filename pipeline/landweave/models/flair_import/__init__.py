"""Cards from the training configurations of the FLAIR tools."""
