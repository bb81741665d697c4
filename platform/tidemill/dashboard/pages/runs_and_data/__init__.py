"""Pages about what a model was made from: runs, versions, data, the chain between them, predictions."""
