"""What outlives a call or a process, and what replicas share. One file for each kind of place where it is kept.

Imported only by the composition root, and only where the configuration asks for that place.
"""
