"""Find single records in the prediction log, count them by version, and erase them."""
