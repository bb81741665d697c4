"""Where a turn looks for its model, and what that begins with."""
