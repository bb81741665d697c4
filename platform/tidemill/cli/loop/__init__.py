"""Commands that turn the loop, by hand, by past rows, and by monitors."""
