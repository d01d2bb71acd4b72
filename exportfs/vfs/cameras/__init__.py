"""`cameras/`: a directory for each camera of the site, with what is known of it and what footage there is."""
