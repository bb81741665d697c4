"""What a batch scoring writes: parts, published output, records of the prediction log."""
