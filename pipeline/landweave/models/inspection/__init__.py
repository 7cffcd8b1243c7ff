"""What can be measured of a network: memory, strides, receptive field, agreement of two placements."""
