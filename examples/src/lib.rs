//! Nothing here: see the targets beside this file.
