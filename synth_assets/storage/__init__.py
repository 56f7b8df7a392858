"""Files and tables that survive failures: warehouse, atomic writes, SQL names, the layout of the data folder."""
