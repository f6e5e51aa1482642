"""Records: what studies, panels and any Ray Tune experiment left behind, read in one place."""
