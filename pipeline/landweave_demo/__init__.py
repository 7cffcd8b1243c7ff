"""A made-up piece of French countryside and a small model of it: all of Landweave without any download."""
