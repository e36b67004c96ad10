"""The trust document: drafted, signed, published."""
