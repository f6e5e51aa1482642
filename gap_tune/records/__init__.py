"""Records: what studies, suites and any Ray Tune experiment left behind, read in one place."""
