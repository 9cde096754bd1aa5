"""The command line of rlbuffers: commands parse, call the library, and print."""
