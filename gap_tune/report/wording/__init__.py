"""What a verdict says where sentences depend on each other: its answer, and what one lacks."""
