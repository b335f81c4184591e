"""What is shown of steps while they are at work: which, how far each is, how long it takes yet."""
