"""Griffe extension that shows the section `Example:` of a docstring as code, as it does `Examples:`."""

from typing import Any

from griffe import Extension, Object


class Examples(Extension):
    """Extension that renames `Example:` to `Examples:`."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rename the section of one class, function or module; griffe calls this once it is read."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
