"""The second stage of a promotion: train the winner further on images, and decide whether that made it better."""
