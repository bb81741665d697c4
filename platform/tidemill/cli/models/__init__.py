"""``tidemill models``: the versions in the registry, and models that come from elsewhere."""
