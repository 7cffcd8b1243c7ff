"""Model cards: what a model needs and gives."""
