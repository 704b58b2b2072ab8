"""`skipwise report`: from the rows of a sweep to figures, a table of the paper's claims, and one page of HTML."""
