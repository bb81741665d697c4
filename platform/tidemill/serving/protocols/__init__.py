"""Protocols that clients of other model servers speak, each a `tidemill.serving.inference.calls.Codec`."""
