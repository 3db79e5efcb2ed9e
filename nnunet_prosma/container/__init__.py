"""nnunet-prosma container: the folder from which a challenge's container is built, and what runs inside it."""
