"""Compares features that were served with those a training set would hold."""
