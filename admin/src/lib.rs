//! An HTTP admin API generated from entity schemas.
