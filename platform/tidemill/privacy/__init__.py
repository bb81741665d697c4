"""Personal data: which there is, how it is hidden, and how one subject is erased everywhere."""
