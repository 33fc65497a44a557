"""Sockets, the error queue, names and routes: what the kernel knows, as values."""
