"""Where rows of one subject can be: each store is searched, and cleared, by its own module."""
