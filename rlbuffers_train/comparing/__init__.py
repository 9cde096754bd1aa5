"""What finished policies and runs are worth: fresh episodes of a checkpoint, and runs side by side."""
