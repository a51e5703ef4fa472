//! The holdfast command: stores on a laptop, and questions to running ones.
