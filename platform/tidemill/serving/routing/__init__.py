"""Who answers a request: traffic split, model swap, shadows."""
