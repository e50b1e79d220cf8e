"""The HTTP reader of published generations, and the `parecido` command."""
