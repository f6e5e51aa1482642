"""Records: what runs left behind, read in one place: studies, and any Ray Tune experiment."""
