"""How this program is called: on the command line, in messages, in the mount table and in names of files."""

PROGRAM = "axxon-exportfs"
