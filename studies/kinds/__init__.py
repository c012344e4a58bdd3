"""Kinds of studies, each a plug-in of the engine: a module with a `KIND`."""
