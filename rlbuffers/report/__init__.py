"""A buffer as one page of HTML: what is drawn is gathered here; `assets/` holds the page, its style and its scripts."""
