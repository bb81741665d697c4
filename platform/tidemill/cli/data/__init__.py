"""Commands about data: versions, validation, labels, personal data."""
