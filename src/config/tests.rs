//! Defaults, faults, and what a reload compares.
