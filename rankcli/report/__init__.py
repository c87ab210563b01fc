"""`report.html`: the results of a training on one self-contained page. Plain values in, markup out."""
