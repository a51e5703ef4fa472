//! Frames between members: encoding, decoding, versions and limits.
