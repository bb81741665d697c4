"""Write the output of a batch scoring: publish it with its manifest."""
