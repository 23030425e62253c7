"""What a sweep knows about its own course: whether it still finds better trials, and how long it will take."""
