"""Ray Tune's schedulers: which trials end early, or go on as copies of others."""
