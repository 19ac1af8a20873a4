"""Publish the book: execute its chapters, render its pages."""
