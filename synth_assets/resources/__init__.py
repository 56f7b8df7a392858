"""What the assets read and write through: the data folder, the warehouse, the publisher."""
