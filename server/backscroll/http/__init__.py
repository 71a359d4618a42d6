"""Serving over HTTP: the ASGI application, the processes that run it, their limits, logs and counts.

Nothing is imported here, so that the command line can read an address without loading a server.
"""
