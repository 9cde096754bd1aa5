"""From rows to chunks: encoding, what is noted of the content meanwhile, and what a killed writer leaves."""
