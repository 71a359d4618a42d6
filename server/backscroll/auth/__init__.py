"""Who may call over HTTP: opaque tokens, JWTs and the keys that they are checked with.

`verifying.Verifier` is the one door. Nothing is imported here, so that the command line, which makes tokens, does not
load what checks signatures.
"""
