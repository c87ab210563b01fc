"""Signals about a query and a document, of which a mixture is made."""
