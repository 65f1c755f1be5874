//! What a run writes for people: metrics, pictures, progress.
