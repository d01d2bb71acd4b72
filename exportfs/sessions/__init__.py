"""Sessions on the server: the catalogue of them, keeping them alive, starting them.

Sees the server only through the protocol in `service.py`.
"""
