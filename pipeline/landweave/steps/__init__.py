"""What one block does, written against ports: the work that the runner repeats all over the area."""
