"""Training of the demo's models on synthetic landscapes, and their scores on landscapes that training does not see."""
