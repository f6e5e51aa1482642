"""Search methods: how the trials of a run are chosen, started and stopped."""
