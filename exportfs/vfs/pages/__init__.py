"""`index.html` and `.pages/`: the mount as a page. Made from memory alone: looking costs the server nothing."""
