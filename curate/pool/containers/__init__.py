"""Containers of records: one small reader for each way in which files hold them.

unpack     gzip, zstd, bz2, xz          bytes in bytes
archive    zip                          files in a file
encoding   UTF-16                       text as UTF-8
lines      JSON Lines                   a record a line
document   JSON array, object, columns  a record an element
table      CSV, TSV                     a record a row below the header
arrow      Parquet, Arrow file, stream  a record a row, read batch by batch

What a file is gets decided by its first bytes (`magic`), never by its name.
"""
