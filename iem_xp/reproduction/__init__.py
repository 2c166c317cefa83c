"""The protocol of the paper's tables on a data set: its runs, their scores, tables and figures."""
