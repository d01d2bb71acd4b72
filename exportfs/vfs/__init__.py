"""The tree as one filesystem object that knows nothing of the kernel: nodes, handles, new/.

`filesystem.py` is the object; each kind of node has its file.
"""
