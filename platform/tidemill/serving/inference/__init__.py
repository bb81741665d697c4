"""From a decoded request to a logged answer: features, models, business logic."""
