"""Where the chain is read from: records, runs, data versions, the prediction log."""
