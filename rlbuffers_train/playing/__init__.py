"""What is played: the task a policy acts in, its episodes and their film, and what their returns are measured by."""
