"""Build the objects in the processes that Ray Serve starts: replicas, parts of a composition, workers."""
