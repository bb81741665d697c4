"""The prediction API over HTTP: admission, routes, statuses."""
