"""The loop on history: a replay's clock, real servers, real traffic."""
