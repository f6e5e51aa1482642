"""What a panel is judged by: three measures against fixed momenta, and search curves."""
