"""Labels made by people: imported, typed, joined as of a moment."""
