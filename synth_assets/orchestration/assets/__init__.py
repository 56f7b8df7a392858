"""One module an asset: it reads, calls the library, writes, reports. Its checks stand beside it."""
