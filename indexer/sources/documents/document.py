"""What is taken out of a document?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """What a document says."""

    text: str
    """Lines as a reader sees them, paragraphs a blank line apart."""
    title: str | None
    """As the document states it; None where it states none."""
