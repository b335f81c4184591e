"""Neighbours among unit vectors: every search of the package.

    nearest      the k nearest rows of blocks of vectors to some queries (nearest.py); exact
    nearest_rows the k nearest of every row of a set (nearest.py); exact up to EXACT_ROWS, then from the
                 cells of a faiss inverted file (inverted.py)
    find_pairs   all pairs from a floor on (allpairs.py); exact up to a number of rows, then from the
                 nearest cells (cells.py)

Where a search is exact, products in float32 propose and products in fixed point decide
(curate.core.fixedpoint): the bytes are the same on any processor and number of threads, ties go to the
earlier row. Queries are few and the rows of a pool many, so their search is one pass over blocks as they
are stored and mapped into memory: linear, and exact at any size. Searches of all rows among all rows are
quadratic; beyond a size they look in the nearest cells alone, and measure on a sample of rows which
share of the true neighbours they find (recall). find_pairs then leaves the vectors on the disk
(stacked.py).
"""
