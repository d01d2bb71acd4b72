"""The site's cameras: which there are, how they are called, what footage there is of them. Sees the server through the
small protocol in `service`; knows nothing of the tree."""
