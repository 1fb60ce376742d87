"""The steps of a run from documents to report, and what of them is done."""
