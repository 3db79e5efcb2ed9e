"""nnU-Net's files and objects, and everything here that knows them."""
