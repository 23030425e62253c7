"""The sensitivity atlas of a study: what the ledger knows, drawn, as PNGs and as one page of HTML."""
