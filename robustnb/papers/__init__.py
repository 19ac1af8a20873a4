"""The papers, a folder for each, and what they share: pieces, tables of cells, and judging."""
