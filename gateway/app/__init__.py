"""The composition root: the only room that knows every other. It turns a configuration into a running gateway."""
