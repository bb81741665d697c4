"""Models from elsewhere: read them safely, compare what will be served with the original, register them."""
