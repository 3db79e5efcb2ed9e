"""What is seen of the gates of a network, in training and after."""
