"""Models: cards with the inputs and outputs of each, networks as published, and predictors that run them."""
