"""The only code that knows pyfuse3."""
