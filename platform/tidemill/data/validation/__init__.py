"""Validates data sets by what is declared of them: bad rows are set aside with their reasons."""
