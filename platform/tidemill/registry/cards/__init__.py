"""What is on record about one version on one sheet, with what people say about it."""
