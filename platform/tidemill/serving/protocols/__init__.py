"""Protocols that clients of other model servers speak, each a `tidemill.serving.calls.Codec`."""
