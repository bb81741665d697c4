"""Commands for a cluster: the project's image, the check before an installation, plain manifests."""
