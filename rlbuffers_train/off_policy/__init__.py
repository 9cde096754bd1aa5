"""What policies are worth by data alone, where there is no environment: Fitted Q Evaluation."""
