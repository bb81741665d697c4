"""Finds that the numbers of a column are in another unit than those of the reference."""
