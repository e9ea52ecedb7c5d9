"""What an instructor and a contributor run: set up, build notebooks, test. The command is `course`."""
