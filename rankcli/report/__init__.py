"""`report.html`: what a training came to, on one page that needs nothing else. Plain values in, markup out."""
