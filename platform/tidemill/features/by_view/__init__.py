"""Features that are looked up or come in the request, as ``features.from`` says by view."""
