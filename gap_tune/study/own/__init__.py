"""Studies of a user's own Tune function: the function, its space, and its configurations."""
