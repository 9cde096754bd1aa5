"""What must hold for a finished buffer: rules, and `validate`, which checks them all."""
