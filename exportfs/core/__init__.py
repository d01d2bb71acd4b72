"""Pure helpers, standard library only: no I/O, no messages, no event loop."""
