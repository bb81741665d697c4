"""Run the prediction API: Ray, HAProxy, the processes of a stack, and the wiring of replicas."""
