"""Handles personal data: lists it, redacts it in the prediction log, and erases one subject everywhere."""
