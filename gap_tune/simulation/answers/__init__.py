"""What simulated studies answer: search curves, wrongly stopped trials, what a sweep wastes."""
