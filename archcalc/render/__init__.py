"""Answers as text. Pages make documents of reports and studies; formats make text of documents."""
