"""The one way in: who asks, from where, and whether they may."""
