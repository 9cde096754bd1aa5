"""What this machine has, what rlbuffers asks for, and whether it works; imports none of it itself."""
